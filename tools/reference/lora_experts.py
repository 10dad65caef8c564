"""LoRA by PEFT on the experts and the router of a mixture, which transformers 5 holds in parameters: as PEFT saves such an adapter, and as PEFT
on transformers 4 saved one, which PEFT converts when it loads it."""

import json
import shutil

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from families import EXPERTS, VOCAB, named_as_in_file
from fixture import ROOT, number, random_tokens, write_fixture
from lora import attach, file_name, save_adapter, trained_case

# name: (family folder, LoraConfig options)
CASES = {
    "mixtral": (
        "mixtral",
        dict(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj"],
            target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj", "gate.weight"],
            rank_pattern={"experts.down_proj": 3},
            alpha_pattern={"layers.1.mlp.experts.gate_up_proj": 2},
        ),
    ),
    # PEFT's "all-linear" leaves out the dense block's MLP, whose names it takes for those of experts.
    "qwen3_moe": ("qwen3_moe", dict(r=3, lora_alpha=6, target_modules="all-linear", use_rslora=True)),
    "qwen3_moe-dense": (
        "qwen3_moe",
        dict(r=4, lora_alpha=8, target_modules=["v_proj"], target_parameters=["layers.1.mlp.up_proj.weight", "layers.1.mlp.down_proj.weight", "experts.down_proj"]),
    ),
}
RECIPE = (
    "adapter/ holds the initial adapter: A and B normal with deviation 0.1, saved by PEFT; loss with labels = inputIds; lossBeforeStep[i] is the loss "
    "before AdamW step i+1, parametersAfterSteps the trained tensors after the last, merged the base weights that merge_and_unload changed, named as in the file"
)


def write_case(name, seed):
    family, options = CASES[name]
    folder = ROOT / "lora-experts" / name
    shutil.rmtree(folder, ignore_errors=True)
    save_adapter(attach(family, options, seed), folder / "adapter")
    content = trained_case(family, lambda: attach(family, options, seed), random_tokens((2, 12), VOCAB, seed), named=named_as_in_file)
    write_fixture(f"lora-experts/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def write_by_expert(family, seed):
    """An adapter of every linear layer under the names that transformers 4 gave them."""
    rank = 2
    folder = ROOT / "lora-experts" / f"{family}-by-expert"
    shutil.rmtree(folder, ignore_errors=True)
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in named_as_in_file(base):
        if weight.dim() == 2 and name.startswith("model.layers."):
            module = name.removesuffix(".weight")
            for factor, shape in (("lora_A", (rank, weight.shape[1])), ("lora_B", (weight.shape[0], rank))):
                tensors[f"base_model.model.{module}.{factor}.weight"] = 0.1 * torch.randn(shape, generator=generator)
    names = sorted({name.split(".")[-3] for name in tensors})
    assert set(EXPERTS[family][1:]) | {"gate", "q_proj"} < set(names)
    (folder / "adapter").mkdir(parents=True)
    save_file(tensors, folder / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": f"../../../families/{family}", "r": rank, "lora_alpha": 6}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({**config, "target_modules": names}, indent=2))
    model = PeftModel.from_pretrained(base, folder / "adapter").eval()
    joined = {file_name(n) for n, _ in model.named_parameters() if "lora_" in n}
    input_ids = random_tokens((2, 12), VOCAB, seed)
    content = {"base": f"families/{family}", "inputIds": input_ids.tolist(), "loss": number(model(input_ids=input_ids, labels=input_ids).loss.item())}
    write_fixture(
        f"lora-experts/{family}-by-expert/loaded.json",
        f"seed {seed}; adapter/ has normal factors with deviation 0.1 under the names of transformers 4; joined are the names after PEFT loaded it; loss with labels = inputIds",
        {**content, "joined": sorted(joined)},
    )


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=700 + 10 * index)
    write_by_expert("mixtral", seed=760)


if __name__ == "__main__":
    main()
