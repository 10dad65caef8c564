"""Merging adapters of experts. PEFT's add_weighted_adapter refuses bare parameters, so every expert's weight is laid out as a linear layer of its
own, with that expert's factors, and PEFT merges those."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from fixture import ROOT, perturb, summaries, write_fixture
from lora import save_adapter
from merging import CASES, UNIFORM, Uniform, camel, use

BASE = "families/mixtral"
EXPERTS, LAYER = 4, "model.layers.0.mlp"
# Of one rank, one of them without gate and up, the other without router; and one of other ranks and scales.
ADAPTERS = {
    "a": dict(r=4, lora_alpha=8, target_modules=["q_proj"], target_parameters=["layers.0.mlp.experts.gate_up_proj", "layers.0.mlp.experts.down_proj"]),
    "b": dict(r=4, lora_alpha=6, target_modules=["v_proj"], target_parameters=["layers.0.mlp.experts.down_proj", "layers.0.mlp.gate.weight"]),
    "c": dict(
        r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj"], rank_pattern={"experts.down_proj": 5}, alpha_pattern={"experts.gate_up_proj": 2},
        target_parameters=["layers.0.mlp.experts.gate_up_proj", "layers.0.mlp.experts.down_proj"],
    ),
}  # fmt: skip
SIZES = {"experts.gate_up_proj": (32, 40, EXPERTS), "experts.down_proj": (20, 32, EXPERTS), "gate.weight": (32, 4, 1)}
RECIPE = (
    "adapters/ as PEFT saves them with target_parameters; the weight of every expert as a linear layer, named by its parameter and its number, merged by "
    "PEFT's add_weighted_adapter, keys in camelCase; factors: lora_A and lora_B of every expert; products: B A, where the signs of singular vectors are free "
    f"or PEFT pads with zeros; both with scale 1; torch.bernoulli replaced: {UNIFORM}"
)


def write_adapters():
    """The factors of every parameter's experts, by adapter: name -> (A [rank, in], B [out, rank])."""
    found = {}
    for index, (name, options) in enumerate(ADAPTERS.items()):
        base = AutoModelForCausalLM.from_pretrained(ROOT / BASE, attn_implementation="eager").eval()
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
        model.peft_config["default"].base_model_name_or_path = f"../../../{BASE}"
        perturb([(n, p) for n, p in model.named_parameters() if "lora_" in n], 730 + index, scale=0.1)
        save_adapter(model, ROOT / "merging-experts" / "adapters" / name)
        found[name] = {}
        for parameter, (width, _, experts) in SIZES.items():
            wrapper = next((m for m in model.modules() if getattr(m, "parameter_name", None) == parameter.split(".")[1] and "default" in m.lora_A and m.lora_A["default"].weight.shape[1] == width), None)
            if wrapper is None:
                continue
            a, b = wrapper.lora_A["default"].weight, wrapper.lora_B["default"].weight
            for expert, rows in enumerate(a.chunk(experts)):
                found[name][f"{parameter}@{expert}"] = (rows, b[:, expert::experts], wrapper.scaling["default"])
    return found


def unrolled(factors):
    """Linear layers for all experts, with the factors of every adapter."""
    layers = {f"{name}@{expert}": torch.nn.Linear(width, out, bias=False) for name, (width, out, experts) in SIZES.items() for expert in range(experts)}
    base = torch.nn.Module()
    base.layers = torch.nn.ModuleDict({name.replace(".", "/"): layer for name, layer in layers.items()})
    model = None
    for adapter, experts in factors.items():
        options = {key: ADAPTERS[adapter].get(key, default) for key, default in dict(r=0, lora_alpha=0, use_rslora=False).items()}
        ranks, alphas = ({pattern.replace(".", "/") + "@.*": value for pattern, value in ADAPTERS[adapter].get(key, {}).items()} for key in ("rank_pattern", "alpha_pattern"))
        ranks, alphas = ({"layers." + pattern: value for pattern, value in values.items()} for values in (ranks, alphas))
        config = LoraConfig(**options, target_modules=[name.replace(".", "/") for name in experts], rank_pattern=ranks, alpha_pattern=alphas)
        if model is None:
            model = get_peft_model(base, config, adapter_name=adapter)
        else:
            model.add_adapter(adapter, config)
        for name, (a, b, scale) in experts.items():
            layer = model.base_model.model.layers[name.replace(".", "/")]
            assert abs(layer.scaling[adapter] - scale) < 1e-9, (adapter, name)
            layer.lora_A[adapter].weight.data.copy_(a)
            layer.lora_B[adapter].weight.data.copy_(b)
    return model


def merge_case(model, name, options):
    model.base_model.add_weighted_adapter(adapter_name=name, **options)
    content = {camel(key): value for key, value in options.items()}
    shown = {}
    for key, layer in model.base_model.model.layers.items():
        if name not in getattr(layer, "lora_A", {}):
            continue
        parameter, expert = key.replace("/", ".").split("@")
        path = f"base_model.model.{LAYER}.{parameter}[{expert}]"
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        if options["combination_type"].endswith(("svd", "cat")):
            shown[path] = b @ a[: b.shape[1]]  # PEFT keeps more rows of A than the router has outputs
        else:
            shown |= {f"{path}.lora_A.weight": a, f"{path}.lora_B.weight": b}
    kind = "products" if options["combination_type"].endswith(("svd", "cat")) else "factors"
    return {**content, kind: summaries(shown.items())}


def main():
    factors = write_adapters()
    bernoulli = torch.bernoulli
    use(Uniform())
    model = unrolled(factors)
    write_fixture("merging-experts/reference.json", RECIPE, {"base": BASE, "cases": {name: merge_case(model, name, options) for name, options in CASES.items()}})
    torch.bernoulli = bernoulli


if __name__ == "__main__":
    main()
