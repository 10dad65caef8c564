"""Logits, loss, gradients and one AdamW step of a tiny random model of each encoder-decoder family, by transformers."""

import shutil

import torch
import transformers

from families import VOCAB, one_step
from fixture import ROOT, numbers, perturb, random_tokens, write_fixture

RECIPE = (
    "random weights as in families.py, float32, eager attention, eval mode; two pairs of different length, sources padded with an attention mask, targets with label -100; "
    "decoderInputIds are the targets shifted right behind decoder_start_token_id; mean cross-entropy over all target tokens; gradients of that loss; "
    "then one torch.optim.AdamW step as in families.py"
)
PAD = 0
T5 = dict(vocab_size=VOCAB, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_decoder_layers=3, num_heads=3, dropout_rate=0.0, pad_token_id=PAD, eos_token_id=1, decoder_start_token_id=0)
BART = dict(
    vocab_size=VOCAB, d_model=24, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=32,
    decoder_ffn_dim=32, max_position_embeddings=40, dropout=0.0, scale_embedding=True, pad_token_id=PAD, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    forced_eos_token_id=2,
)  # fmt: skip
# Few buckets and a short greatest distance, so that all of them occur.
BUCKETS = dict(relative_attention_num_buckets=8, relative_attention_max_distance=10)

# name: (class, options of its config)
CASES = {
    "t5": ("T5ForConditionalGeneration", {**T5, **BUCKETS}),
    "t5-gated": ("T5ForConditionalGeneration", {**T5, **BUCKETS, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
}
CASES["mt5"] = ("MT5ForConditionalGeneration", {**T5, **BUCKETS, "feed_forward_proj": "gated-gelu"})
CASES["bart"] = ("BartForConditionalGeneration", BART)
# T5 v1.1 and Flan-T5: a head of their own. transformers ties by what the file holds, whatever the config says.
UNTIED = {"t5-gated", "mt5"}
SOURCES, TARGETS = [9, 14], [7, 5]


def padded(rows, value):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def write_case(name, seed):
    class_name, options = CASES[name]
    folder = ROOT / "encoder-decoders" / name
    shutil.rmtree(folder, ignore_errors=True)
    cls = getattr(transformers, class_name)
    model = cls._from_config(cls.config_class(**options), attn_implementation="eager").eval()
    if name in UNTIED:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    perturb(model.named_parameters(), seed)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=torch.Generator().manual_seed(seed)))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    sources = [(random_tokens((n,), VOCAB - 3, seed + n) + 3).tolist() for n in SOURCES]
    targets = [(random_tokens((n,), VOCAB - 3, seed + n) + 3).tolist() for n in TARGETS]
    input_ids = padded(sources, PAD)
    inputs = dict(input_ids=input_ids, attention_mask=(input_ids != PAD).long(), labels=padded(targets, -100), use_cache=False)
    start = model.config.decoder_start_token_id

    def forward():
        output = model(**inputs)
        return output.loss, [numbers(output.logits[i, : len(row)]) for i, row in enumerate(targets)]

    ids = {"sourceIds": sources, "decoderInputIds": [[start, *row[:-1]] for row in targets], "labels": targets}
    write_fixture(f"encoder-decoders/{name}/reference.json", f"seed {seed}; {RECIPE}", {**ids, **one_step(model, forward)})


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=800 + index)


if __name__ == "__main__":
    main()
