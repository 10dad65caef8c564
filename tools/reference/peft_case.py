"""A case of a PEFT method that changes the model's own modules: adapter folder, loss, gradients, training curve, merged weights."""

import shutil

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from families import VOCAB
from fixture import ROOT, random_tokens, write_fixture
from lora import save_adapter, trained_case

RECIPE = (
    "adapter/ holds the initial adapter, {start}, saved by PEFT; eval mode; loss with labels = inputIds; "
    "lossBeforeStep[i] is the loss before AdamW step i+1, parametersAfterSteps the trained tensors after the last, merged the base weights "
    "that merge_and_unload changed, from the initial adapter"
)


def load_base(family):
    return AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager")


def attach(family, config, center, seed):
    """The base with the method on it, its parameters normal around `center` (or around their start where None) with deviation 0.2."""
    model = get_peft_model(load_base(family), config).eval()
    model.peft_config["default"].base_model_name_or_path = f"../../../families/{family}"
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            start = parameter if center is None else center
            parameter.copy_(start + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def write_case(path, family, make_config, center, start, seed, present=()):
    """`present` are tokens that the input must contain."""
    folder = ROOT / path
    shutil.rmtree(folder, ignore_errors=True)
    make = lambda: attach(family, make_config(), center, seed)
    save_adapter(make(), folder / "adapter")
    input_ids = random_tokens((2, 12), VOCAB, seed)
    for position, token in enumerate(present):
        input_ids[position % 2, 3 * position + 1] = token
    write_fixture(f"{path}/reference.json", f"seed {seed}; {RECIPE.format(start=start)}", trained_case(family, make, input_ids))
