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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, choices=CLASSES)
    parser.add_argument("--model", required=True, help="merged folder, or the base of the adapter")
    parser.add_argument("--adapter", help="adapter folder")
    parser.add_argument("--labels", type=int, default=2, help="number of labels, where the base does not say")
    parser.add_argument("--text", required=True)
    arguments = parser.parse_args()
    cls = CLASSES[arguments.task]
    if arguments.adapter:
        base = cls.from_pretrained(arguments.model, dtype=torch.float32, attn_implementation="eager", num_labels=arguments.labels)
        model = PeftModel.from_pretrained(base, arguments.adapter).eval()
        check_names(model, arguments.adapter)
    else:
        model = load_strictly(cls, arguments.model)
    tokens = AutoTokenizer.from_pretrained(arguments.model)(arguments.text, return_tensors="pt")
    if model.config.model_type == "gpt2":
        tokens.pop("token_type_ids", None)  # GPT-2 would add the embedding of token 0; its own tokenizer gives none
    with torch.no_grad():
        output = model(**tokens)
    values = output.last_hidden_state if arguments.task == "sentence-embeddings" else output.logits
    print(json.dumps({"id2label": model.config.id2label, "values": values[0].tolist()}))


if __name__ == "__main__":
    main()
