"""Logits, loss, gradients and one AdamW step of a tiny random masked language model of each encoder family, by transformers."""

import json
import shutil

import torch
import transformers

from families import VOCAB, one_step, rope
from fixture import ROOT, numbers, perturb, random_tokens, write_fixture

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

# The windows are below the lengths, so that they matter: 3 tokens on either side, or 2.
MODERN = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=40, pad_token_id=PAD,
    bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, local_attention=6,
)  # fmt: skip
MODERN_PUBLISHED = dict(global_attn_every_n_layers=2, global_rope_theta=700.0, local_rope_theta=50.0)
MODERN_BIASES = dict(norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True, decoder_bias=False, tie_word_embeddings=False)
MODERN_ROPES = {"full_attention": rope("linear", theta=900.0, factor=2.0), "sliding_attention": rope("default", theta=40.0)}
MODERN_LAYERS = ["sliding_attention", "full_attention"]

# name: (class, options of its config, whether it reads token types)
CASES = {
    "bert": ("BertForMaskedLM", ENCODER, True),
    "roberta": ("RobertaForMaskedLM", dict(ENCODER, pad_token_id=1, type_vocab_size=1), False),
    "distilbert": ("DistilBertForMaskedLM", DISTIL, False),
    "modernbert": ("ModernBertForMaskedLM", dict(MODERN, **MODERN_PUBLISHED), False),
    "modernbert-biases": (
        "ModernBertForMaskedLM",
        dict(MODERN, **MODERN_BIASES, num_hidden_layers=2, local_attention=5, layer_types=MODERN_LAYERS, rope_parameters=MODERN_ROPES, classifier_activation="silu"),
        False,
    ),
}
LENGTHS = [13, 9]


def write_published_config(model, folder):
    """The form of config.json that ModernBERT was published with, before transformers 5 wrote out `layer_types` and `rope_parameters`."""
    config = json.loads((folder / "config.json").read_text())
    kept = {key: value for key, value in config.items() if key not in ("layer_types", "rope_parameters", "dtype", "transformers_version")}
    (folder / "config.json").write_text(json.dumps({**kept, **MODERN_PUBLISHED}, indent=2) + "\n")
    loaded = type(model).from_pretrained(folder, attn_implementation="eager")
    assert (loaded.config.layer_types, loaded.config.rope_parameters) == (model.config.layer_types, model.config.rope_parameters)


def write_case(name, seed):
    class_name, options, has_types = CASES[name]
    folder = ROOT / "encoders" / name
    shutil.rmtree(folder, ignore_errors=True)
    cls = getattr(transformers, class_name)
    model = cls._from_config(cls.config_class(**options), attn_implementation="eager").eval()
    perturb(model.named_parameters(), seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if "global_rope_theta" in options:
        write_published_config(model, folder)
    width = max(LENGTHS)
    mask = torch.tensor([[1] * n + [0] * (width - n) for n in LENGTHS])
    pad = options["pad_token_id"]
    input_ids = (random_tokens((2, width), VOCAB - 3, seed) + 3) * mask + pad * (1 - mask)
    types = torch.zeros_like(input_ids)
    if has_types:
        types[0, LENGTHS[0] // 2 : LENGTHS[0]] = 1
    labels = torch.where((torch.arange(width)[None] % 3 == 1) & (mask == 1), random_tokens((2, width), VOCAB, seed + 1), -100)
    inputs = dict(input_ids=input_ids, attention_mask=mask, labels=labels, **({"token_type_ids": types} if has_types else {}))

    def forward():
        output = model(**inputs)
        return output.loss, [numbers(output.logits[i, :n]) for i, n in enumerate(LENGTHS)]

    rows = lambda tensor: [tensor[i, :n].tolist() for i, n in enumerate(LENGTHS)]
    content = {"inputIds": rows(input_ids), "tokenTypeIds": rows(types), "labels": rows(labels), **one_step(model, forward)}
    write_fixture(f"encoders/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=900 + index)


if __name__ == "__main__":
    main()
