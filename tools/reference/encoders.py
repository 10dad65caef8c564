"""Logits, loss, gradients and one AdamW step of a tiny random masked language model of each encoder family, by transformers."""

import shutil

import torch
import transformers

from families import OPTIMIZER, VOCAB, adamw
from fixture import ROOT, number, numbers, perturb, random_tokens, summaries, write_fixture

RECIPE = (
    "random weights as in families.py, float32, eager attention, eval mode; two documents of different length, padded on the right with an attention mask; "
    "the second half of the first document has token type 1 where the family knows types; labels at every third token, -100 elsewhere; "
    "mean cross-entropy over the labels; gradients of that loss; then one torch.optim.AdamW step as in families.py"
)
PAD = 0
ENCODER = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=40, pad_token_id=PAD,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip

DISTIL = dict(
    vocab_size=VOCAB, dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=40, pad_token_id=PAD, dropout=0.0, attention_dropout=0.0,
)  # fmt: skip

# name: (class, options of its config, whether it reads token types)
CASES = {
    "bert": ("BertForMaskedLM", ENCODER, True),
    "roberta": ("RobertaForMaskedLM", dict(ENCODER, pad_token_id=1, type_vocab_size=1), False),
    "distilbert": ("DistilBertForMaskedLM", DISTIL, False),
}
LENGTHS = [13, 9]


def write_case(name, seed):
    class_name, options, has_types = CASES[name]
    folder = ROOT / "encoders" / name
    shutil.rmtree(folder, ignore_errors=True)
    cls = getattr(transformers, class_name)
    model = cls._from_config(cls.config_class(**options), attn_implementation="eager").eval()
    perturb(model.named_parameters(), seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    width = max(LENGTHS)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in LENGTHS])
    pad = options["pad_token_id"]
    input_ids = (random_tokens((2, width), VOCAB - 3, seed) + 3) * mask + pad * (1 - mask)
    types = torch.zeros_like(input_ids)
    if has_types:
        types[0, LENGTHS[0] // 2 : LENGTHS[0]] = 1
    labels = torch.where((torch.arange(width)[None] % 3 == 1) & (mask == 1), random_tokens((2, width), VOCAB, seed + 1), -100)
    inputs = dict(input_ids=input_ids, attention_mask=mask, labels=labels, **({"token_type_ids": types} if has_types else {}))
    output = model(**inputs)
    output.loss.backward()
    rows = lambda tensor: [tensor[i, :n].tolist() for i, n in enumerate(LENGTHS)]
    content = {
        "inputIds": rows(input_ids),
        "tokenTypeIds": rows(types),
        "labels": rows(labels),
        "loss": number(output.loss.item()),
        "logits": [numbers(output.logits[i, :n]) for i, n in enumerate(LENGTHS)],
        "gradients": summaries((key, p.grad) for key, p in model.named_parameters() if p.grad is not None),
        "optimizer": OPTIMIZER,
    }
    adamw(model).step()
    with torch.no_grad():
        after = model(**inputs).loss
    write_fixture(f"encoders/{name}/reference.json", f"seed {seed}; {RECIPE}", {**content, "lossAfterStep": number(after.item())})


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=900 + index)


if __name__ == "__main__":
    main()
