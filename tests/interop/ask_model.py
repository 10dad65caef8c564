"""Asks a model for labels in Python: a merged folder, or an adapter on its base with PEFT. Fails where a weight is missing, unknown or of another shape. Prints logits, one JSON line."""

import argparse
import json
from pathlib import Path

import torch
import transformers
from peft import PeftModel
from transformers import AutoTokenizer

from load_adapter import check_names
from report import load_strictly

CLASSES = {
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "multiple-choice": transformers.AutoModelForMultipleChoice,
    "sentence-embeddings": transformers.AutoModel,
}


def renaming(arguments):
    """LlamaForQuestionAnswering calls its model otherwise than LlamaForCausalLM, and transformers would not find the weights of the latter."""
    is_llama = transformers.AutoConfig.from_pretrained(arguments.model).model_type == "llama"
    return {"key_mapping": {r"^model\.": "transformer."}} if is_llama and arguments.task == "question-answering" else {}


def values_of(output, task):
    if task == "sentence-embeddings":
        return output.last_hidden_state
    return torch.stack([output.start_logits, output.end_logits], -1) if task == "question-answering" else output.logits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, choices=CLASSES)
    parser.add_argument("--model", required=True, help="merged folder, or the base of the adapter")
    parser.add_argument("--adapter", help="adapter folder")
    parser.add_argument("--labels", type=int, default=2, help="number of labels, where the base does not say")
    parser.add_argument("--text", required=True)
    parser.add_argument("--pair", help="a second text behind the first")
    arguments = parser.parse_args()
    cls = CLASSES[arguments.task]
    if arguments.adapter:
        base = cls.from_pretrained(arguments.model, dtype=torch.float32, attn_implementation="eager", num_labels=arguments.labels, **renaming(arguments))
        model = PeftModel.from_pretrained(base, arguments.adapter).eval()
        check_names(model, arguments.adapter)
    else:
        model = load_strictly(cls, arguments.model)
    tokens = AutoTokenizer.from_pretrained(arguments.model)(arguments.text, arguments.pair, return_tensors="pt")
    if model.config.model_type == "gpt2":
        tokens.pop("token_type_ids", None)  # GPT-2 would add the embedding of token 0; its own tokenizer gives none
    with torch.no_grad():
        # The adapter's layers stand in the base; PEFT's own forward leaves out token_type_ids where it is for answers.
        output = (model.get_base_model() if arguments.adapter else model)(**tokens)
    values = values_of(output, arguments.task)[0]
    print(json.dumps({"id2label": model.config.id2label, "values": values.tolist()}))


if __name__ == "__main__":
    main()
