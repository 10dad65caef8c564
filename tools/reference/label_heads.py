"""Logits, loss, gradients and one AdamW step of tiny random models with heads for labels, by transformers."""

import shutil
import sys

import torch
import transformers

from encoder_decoders import BART, BUCKETS, T5
from encoders import DISTIL, ENCODER, MODERN
from families import DECODER, VOCAB, one_step
from fixture import ROOT, numbers, perturb, random_tokens, write_fixture

RECIPE = (
    "random weights as in families.py, float32, eager attention, eval mode; two documents of different length, padded on the right with the pad token; "
    "the loss that transformers computes for problem_type and labels; gradients of that loss; then one torch.optim.AdamW step as in families.py"
)
PAD = 0
GPT2 = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, bos_token_id=1, eos_token_id=2)
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"

# name: (class, options of its config, problem type, labels by document)
CASES = {
    "gpt2-single": ("GPT2ForSequenceClassification", GPT2, SINGLE, 3, [2, 0]),
    "llama-single": ("LlamaForSequenceClassification", DECODER, SINGLE, 3, [1, 2]),
    "llama-multi": ("LlamaForSequenceClassification", DECODER, MULTI, 4, [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    "qwen3-regression": ("Qwen3ForSequenceClassification", dict(DECODER, head_dim=12), REGRESSION, 1, [0.7, -1.3]),
}
CASES["bert-single"] = ("BertForSequenceClassification", ENCODER, SINGLE, 3, [0, 2])
CASES["roberta-multi"] = ("RobertaForSequenceClassification", dict(ENCODER, type_vocab_size=1), MULTI, 3, [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
CASES["distilbert-single"] = ("DistilBertForSequenceClassification", dict(DISTIL, seq_classif_dropout=0.0), SINGLE, 3, [2, 1])
CASES["modernbert-single"] = ("ModernBertForSequenceClassification", MODERN, SINGLE, 3, [1, 2])
CASES["modernbert-mean-multi"] = (
    "ModernBertForSequenceClassification", dict(MODERN, classifier_pooling="mean", classifier_bias=True), MULTI, 3, [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
)  # fmt: skip
# Their documents end with the token at whose row transformers reads the label.
T5_SMALL = dict(T5, **BUCKETS, num_layers=1, num_decoder_layers=1)
BART_SMALL = dict(BART, encoder_layers=1, decoder_layers=1)
CASES["t5-single"] = ("T5ForSequenceClassification", T5_SMALL, SINGLE, 3, [2, 0])
CASES["t5-gated-multi"] = ("T5ForSequenceClassification", dict(T5_SMALL, feed_forward_proj="gated-gelu", num_decoder_layers=2), MULTI, 3, [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
CASES["mt5-regression"] = ("MT5ForSequenceClassification", dict(T5_SMALL, feed_forward_proj="gated-gelu"), REGRESSION, 1, [0.7, -1.3])
CASES["bart-single"] = ("BartForSequenceClassification", BART_SMALL, SINGLE, 3, [1, 2])
CASES["bart-regression"] = ("BartForSequenceClassification", BART_SMALL, REGRESSION, 2, [[0.5, -1.0], [2.0, 0.1]])
LENGTHS = [9, 12]


def build(class_name, options, problem_type, num_labels):
    cls = getattr(transformers, class_name)
    config = cls.config_class(**{**options, "pad_token_id": PAD, "num_labels": num_labels, "problem_type": problem_type})
    return cls._from_config(config, attn_implementation="eager").eval()


def close(input_ids, eos):
    """Every document ends with `eos`, which stands nowhere else in it."""
    closed = torch.where(input_ids == eos, eos + 1, input_ids)
    for row, length in zip(closed, LENGTHS):
        row[length - 1] = eos
    return closed


def write_case(name, seed):
    class_name, options, problem_type, num_labels, labels = CASES[name]
    folder = ROOT / "label-heads" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = build(class_name, options, problem_type, num_labels)
    perturb(model.named_parameters(), seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    input_ids = random_tokens((2, max(LENGTHS)), VOCAB - 1, seed) + 1  # never the pad token
    if model.config.is_encoder_decoder:
        input_ids = close(input_ids, model.config.eos_token_id)
    mask = torch.tensor([[1] * n + [0] * (max(LENGTHS) - n) for n in LENGTHS])
    inputs = dict(input_ids=input_ids * mask + PAD * (1 - mask), attention_mask=mask, labels=torch.tensor(labels))

    def forward():
        output = model(**inputs)
        return output.loss, numbers(output.logits)

    content = {"inputIds": [row[:n].tolist() for row, n in zip(input_ids, LENGTHS)], "labels": labels, **one_step(model, forward)}
    write_fixture(f"label-heads/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    """Arguments: cases to write; all where there are none."""
    for index, name in enumerate(CASES):
        if name in sys.argv[1:] or not sys.argv[1:]:
            write_case(name, seed=700 + index)


if __name__ == "__main__":
    main()
