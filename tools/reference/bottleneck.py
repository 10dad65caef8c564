"""
Bottleneck adapters by AdapterHub's `adapters` on the tiny models of families.py. Needs a Python of its own, since adapters 1.3 works with
transformers 4 only: pip install adapters, then run this file alone.
"""

import shutil
import tempfile
from importlib.metadata import version

import adapters
import torch
from adapters import BnConfig, DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from transformers import AutoModelForCausalLM

from families import VOCAB
from fixture import ROOT, number, perturb, random_tokens, summaries, write_fixture
from lora import OPTIMIZER, STEPS

RECIPE = (
    "adapter/ holds the initial adapter, normal with deviation 0.2, as adapters {version} saves it with use_safetensors; eval mode; labels are inputIds; "
    "lossBeforeStep[i] is the loss before AdamW step i+1, parametersAfterSteps the trained tensors after the last"
)
NAME = "tiny"

# name: (family, configuration)
CASES = {
    "llama-pfeiffer": ("llama", SeqBnConfig(reduction_factor=4)),
    "llama-houlsby": ("llama", DoubleSeqBnConfig(reduction_factor=4)),
    "llama-parallel": ("llama", ParBnConfig(reduction_factor=4)),
    "gpt2-pfeiffer": ("gpt2", SeqBnConfig(reduction_factor=3, non_linearity="gelu", leave_out=[0])),
    "gpt2-houlsby": ("gpt2", DoubleSeqBnConfig(reduction_factor=4, non_linearity="tanh")),
    "gpt2-parallel": ("gpt2", ParBnConfig(reduction_factor=4, mh_adapter=True, non_linearity="gelu_new")),
}


def load_base(family):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "families" / family, folder, dirs_exist_ok=True)
        legacy = ROOT / "families" / family / "config.legacy.json"
        if legacy.exists():
            shutil.copy(legacy, f"{folder}/config.json")
        return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")


def attach(family, config, seed):
    model = load_base(family)
    adapters.init(model, adapters_config=None)
    model.add_adapter(NAME, config=config)
    model.train_adapter(NAME)
    model.eval()
    perturb(trained(model), seed)
    return model


def trained(model):
    return [(n, p) for n, p in model.named_parameters() if p.requires_grad]


def train(model, input_ids):
    betas = (OPTIMIZER["beta1"], OPTIMIZER["beta2"])
    optimizer = torch.optim.AdamW([p for _, p in trained(model)], lr=OPTIMIZER["learningRate"], betas=betas, eps=OPTIMIZER["epsilon"], weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=input_ids, labels=input_ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def write_case(name, seed):
    family, config = CASES[name]
    assert isinstance(config, BnConfig)
    folder = ROOT / "bottleneck" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = attach(family, config, seed)
    model.config._name_or_path = f"../../../families/{family}"
    model.save_adapter(str(folder / "adapter"), NAME, use_safetensors=True, with_head=False)
    input_ids = random_tokens((2, 12), VOCAB, seed)
    loss = model(input_ids=input_ids, labels=input_ids).loss
    loss.backward()
    content = {
        "base": f"families/{family}",
        "inputIds": input_ids.tolist(),
        "loss": number(loss.item()),
        "gradients": summaries((n, p.grad) for n, p in trained(model)),
        "optimizer": OPTIMIZER,
        "lossBeforeStep": [number(value) for value in train(model, input_ids)],
        "parametersAfterSteps": summaries(trained(model)),
    }
    write_fixture(f"bottleneck/{name}/reference.json", f"seed {seed}; {RECIPE.format(version=version('adapters'))}", content)


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=600 + 10 * index)


if __name__ == "__main__":
    main()
