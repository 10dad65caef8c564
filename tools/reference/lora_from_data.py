"""Writes lora-eva/ and lora-loftq/: starts of LoRA that PEFT finds in data (EVA) and in what a quantised base rounds away (LoftQ).

EVA: PEFT's initialize_lora_eva_weights, with the full SVD of its IncrementalPCA instead of the randomised one, so that there is one answer.
LoftQ: PEFT's loftq_init, whose device is "cuda" by name; its source is run with "cpu" there, where bitsandbytes quantises, too.
"""

import inspect
import logging

from fixture import ROOT, number, numbers, summary, write_fixture

logging.disable(logging.WARNING)

import peft.utils.loftq_utils as loftq_utils
import torch
from families import VOCAB
from fixture import random_tokens
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora import eva
from peft.utils.incremental_pca import IncrementalPCA
from transformers import AutoModelForCausalLM

BATCHES = 3
TOKENS = 40
EVA_CASES = {
    "llama": ("llama", 4, dict(rho=2.0, tau=0.99, use_label_mask=True)),
    "llama-even": ("llama", 3, dict(rho=1.0, tau=0.95, use_label_mask=False)),
    "llama-whitened": ("llama", 4, dict(rho=1.5, tau=0.98, use_label_mask=False, whiten=True, adjust_scaling_factors=False)),
    "gpt2": ("gpt2", 4, dict(rho=2.0, tau=0.99, use_label_mask=False)),
}
LOFTQ_CASES = {"one": (4, 1), "three": (4, 3), "int8": (8, 1)}


class FullPCA(IncrementalPCA):
    def __init__(self, **options):
        super().__init__(**{**options, "lowrank": False})


def write_eva(name):
    family, rank, options = EVA_CASES[name]
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager")
    target = ["c_attn", "c_proj", "c_fc"] if family == "gpt2" else "all-linear"
    if options.get("whiten"):  # PEFT whitens directions in place, so those of layers that read the same values several times
        target = ["q_proj", "o_proj", "down_proj"]
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=target, init_lora_weights="eva",
        eva_config=EvaConfig(**options), fan_in_fan_out=family == "gpt2",
    )
    model = get_peft_model(base, config).eval()
    batches = []
    for i in range(BATCHES):
        input_ids = random_tokens((1, TOKENS), VOCAB, 700 + i)
        labels = input_ids.clone()
        labels[:, :9] = -100
        batches.append({"input_ids": input_ids, "labels": labels, "attention_mask": torch.ones_like(input_ids)})
    eva.IncrementalPCA = FullPCA
    initialize_lora_eva_weights(model, batches, show_progress_bar=False)
    found = model.peft_config["default"]
    layers = {n.removeprefix("base_model.model."): m for n, m in model.named_modules() if hasattr(m, "lora_A") and len(m.lora_A)}
    write_fixture(
        f"lora-eva/{name}.json",
        "initialize_lora_eva_weights of PEFT with a full SVD; batches of random tokens, seed 700 + number, the first 9 not supervised",
        {
            "base": f"families/{family}",
            "options": {"rank": rank, **options},
            "targetModules": target,
            "inputIds": [batch["input_ids"][0].tolist() for batch in batches],
            "unsupervised": 9,
            "ranks": {n: m.r["default"] for n, m in layers.items()},
            "scalings": {n: number(m.scaling["default"]) for n, m in layers.items()},
            "rank_pattern": dict(sorted(found.rank_pattern.items())),
            "alpha_pattern": dict(sorted(found.alpha_pattern.items())),
            "factors": {n: summary(m.lora_A["default"].weight) for n, m in layers.items()},
        },
    )


def write_loftq(name):
    bits, iterations = LOFTQ_CASES[name]
    source = inspect.getsource(loftq_utils.loftq_init).replace('"cuda"', '"cpu"')
    scope = dict(vars(loftq_utils))
    exec(source, scope)
    weight = 0.05 * torch.randn((24, 64), generator=torch.Generator().manual_seed(800))
    decoded, a, b = scope["loftq_init"](weight, num_bits=bits, reduced_rank=4, num_iter=iterations)
    write_fixture(
        f"lora-loftq/{name}.json",
        "loftq_init of PEFT on the CPU, rank 4, scale 1; a normal weight, seed 800. product = B A, which is free of signs",
        {"bits": bits, "iterations": iterations, "weight": numbers(weight, 9), "base": numbers(decoded), "product": numbers(b @ a)},
    )


def main():
    for name in EVA_CASES:
        write_eva(name)
    for name in LOFTQ_CASES:
        write_loftq(name)


if __name__ == "__main__":
    main()
