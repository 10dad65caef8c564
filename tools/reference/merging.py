"""Merging: PEFT's add_weighted_adapter in every combination type, merges of whole models in a few lines of torch, and a batch that mixes adapters."""

import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.model import LoraModel
from peft.utils import merge_utils
from transformers import AutoModelForCausalLM

from families import VOCAB
from fixture import ROOT, numbers, perturb, random_tokens, summaries, summary, write_fixture
from lora import save_adapter

BASE = "families/llama"
# Two of one rank, with and without a module in common, and one of another rank and scale.
ADAPTERS = {
    "a": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "b": dict(r=4, lora_alpha=6, target_modules=["q_proj", "o_proj"]),
    "c": dict(r=6, lora_alpha=5, target_modules=["q_proj"], use_rslora=True),
}
TWO = dict(adapters=["a", "b"], weights=[0.7, -0.4])
THREE = dict(adapters=["a", "b", "c"], weights=[0.7, -0.4, 1.2])
PRUNED = dict(density=0.6)
CASES = {
    "linear": dict(**TWO, combination_type="linear"),
    "cat": dict(**THREE, combination_type="cat"),
    "svd": dict(**THREE, combination_type="svd"),
    "svd-rank-3": dict(**THREE, combination_type="svd", svd_rank=3),
    "ties": dict(**TWO, **PRUNED, combination_type="ties"),
    "ties-frequency": dict(**TWO, **PRUNED, combination_type="ties", majority_sign_method="frequency"),
    "ties_svd": dict(**THREE, **PRUNED, combination_type="ties_svd"),
    "ties_svd-frequency": dict(**THREE, **PRUNED, combination_type="ties_svd", majority_sign_method="frequency"),
    "dare_linear": dict(**TWO, **PRUNED, combination_type="dare_linear"),
    "dare_linear_svd": dict(**THREE, **PRUNED, combination_type="dare_linear_svd"),
    "dare_ties": dict(**TWO, **PRUNED, combination_type="dare_ties"),
    "dare_ties_svd": dict(**THREE, **PRUNED, combination_type="dare_ties_svd"),
    "magnitude_prune": dict(**TWO, **PRUNED, combination_type="magnitude_prune"),
    "magnitude_prune_svd": dict(**THREE, **PRUNED, combination_type="magnitude_prune_svd"),
}
UNIFORM = "the n-th uniform number of a module or tensor is the fractional part of 0.5 + n * 0.6180339887498949; a value stays where it is below the density"
ADAPTER_RECIPE = (
    "PEFT's add_weighted_adapter over adapters/, keys in camelCase; factors: lora_A and lora_B of every module; products: B A, where the signs of "
    f"singular vectors are free or PEFT pads with zeros; both with scale 1; torch.bernoulli replaced: {UNIFORM}"
)


class Uniform:
    """A stream that both sides can make, in place of torch.bernoulli."""

    drawn = 0

    def bernoulli(self, probabilities):
        steps = torch.arange(self.drawn, self.drawn + probabilities.numel(), dtype=torch.float64)
        self.drawn += probabilities.numel()
        uniform = ((0.5 + steps * 0.6180339887498949) % 1).reshape(probabilities.shape)
        return (uniform < probabilities.double().round(decimals=6)).to(probabilities.dtype)


def use(stream):
    """Every module starts the stream again."""
    torch.bernoulli = stream.bernoulli
    for name in ("_generalized_task_arithmetic_weighted_adapter", "_svd_generalized_task_arithmetic_weighted_adapter"):
        original = getattr(LoraModel, name)

        def restarted(*args, original=original, **kwargs):
            stream.drawn = 0
            return original(*args, **kwargs)

        setattr(LoraModel, name, restarted)


def base_model():
    return AutoModelForCausalLM.from_pretrained(ROOT / BASE, attn_implementation="eager").eval()


def write_adapters():
    for index, (name, options) in enumerate(ADAPTERS.items()):
        model = get_peft_model(base_model(), LoraConfig(task_type="CAUSAL_LM", **options))
        model.peft_config["default"].base_model_name_or_path = f"../../../{BASE}"
        perturb([(n, p) for n, p in model.named_parameters() if "lora_" in n], 700 + index, scale=0.1)
        save_adapter(model, ROOT / "merging" / "adapters" / name)


def load_all():
    folder = ROOT / "merging" / "adapters"
    model = PeftModel.from_pretrained(base_model(), folder / "a", adapter_name="a")
    for name in list(ADAPTERS)[1:]:
        model.load_adapter(folder / name, adapter_name=name)
    return model.eval()


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def merge_case(model, name, options):
    model.add_weighted_adapter(adapter_name=name, **options)
    weights = {n: p for n, p in model.named_parameters() if f".{name}." in n}
    factors = {n.replace(f".{name}.", "."): p for n, p in weights.items()}
    content = {camel(key): value for key, value in options.items()}
    if not options["combination_type"].endswith(("svd", "cat")):
        return {**content, "factors": summaries(factors.items())}
    modules = sorted({n.split(".lora_")[0] for n in factors})
    return {**content, "products": summaries((m, factors[f"{m}.lora_B.weight"] @ factors[f"{m}.lora_A.weight"]) for m in modules)}


def write_adapter_merges():
    model = load_all()
    content = {name: merge_case(model, name, options) for name, options in CASES.items()}
    write_fixture("merging/adapters.json", ADAPTER_RECIPE, {"cases": content})


def slerp(t, first, second):
    cosine = torch.dot((first / first.norm()).flatten(), (second / second.norm()).flatten())
    if cosine.abs() > 0.9995:
        return torch.lerp(first, second, t)
    angle = torch.acos(cosine)
    return (torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second) / torch.sin(angle)


def restarted(stream, method, *args):
    stream.drawn = 0
    return method(*args)


def write_model_merges(stream):
    generator = torch.Generator().manual_seed(710)
    draw = lambda scale: {name: scale * torch.randn(shape, generator=generator) for name, shape in {"matrix": (4, 5), "vector": (6,)}.items()}
    rounded = lambda tensors: {name: torch.tensor(numbers(tensor, 4)) for name, tensor in tensors.items()}
    base = rounded(draw(1.0))
    models = [rounded({name: base[name] + delta for name, delta in draw(0.3).items()}) for _ in range(3)]
    near = rounded({name: base[name] + delta for name, delta in draw(0.001).items()})
    weights = [0.5, 1.5, -0.25]
    shares = torch.tensor(weights)
    on_tasks = lambda method, *options: {
        name: base[name] + restarted(stream, method, [model[name] - base[name] for model in models], shares, *options) for name in base
    }
    pair = lambda second, t: {name: slerp(t, models[0][name], second[name]) for name in base}
    merged = {
        "soup": ({"name": "soup"}, {name: sum(w * m[name] for w, m in zip(weights, models)) / sum(weights) for name in base}),
        "task_arithmetic": ({"name": "task_arithmetic"}, on_tasks(merge_utils.task_arithmetic)),
        "ties": ({"name": "ties", "density": 0.5}, on_tasks(merge_utils.ties, 0.5, "total")),
        "ties-frequency": ({"name": "ties", "density": 0.5, "majoritySignMethod": "frequency"}, on_tasks(merge_utils.ties, 0.5, "frequency")),
        "dare_linear": ({"name": "dare_linear", "density": 0.6}, on_tasks(merge_utils.dare_linear, 0.6)),
        "dare_ties": ({"name": "dare_ties", "density": 0.6}, on_tasks(merge_utils.dare_ties, 0.6, "total")),
        "magnitude_prune": ({"name": "magnitude_prune", "density": 0.4}, on_tasks(merge_utils.magnitude_prune, 0.4)),
        "slerp": ({"name": "slerp", "t": 0.3}, pair(models[1], 0.3)),
        "slerp-parallel": ({"name": "slerp", "t": 0.3}, {name: slerp(0.3, base[name], near[name]) for name in base}),
    }
    show = lambda tensors: {name: numbers(tensor) for name, tensor in tensors.items()}
    recipe = (
        "soup, slerp (of models 0 and 1; slerp-parallel of base and near) in torch; the others base + PEFT's merge_utils over model - base, tensor by "
        f"tensor; torch.bernoulli replaced: {UNIFORM}"
    )
    cases = {name: {"method": method, "merged": show(tensors)} for name, (method, tensors) in merged.items()}
    content = {"base": show(base), "models": [show(model) for model in models], "near": show(near), "weights": weights, "cases": cases}
    write_fixture("merging/models.json", recipe, content)


def write_mixed_batch():
    names = ["b", "__base__", "c", "a", "b"]
    input_ids = random_tokens((len(names), 7), VOCAB, 720)
    with torch.no_grad():
        logits = load_all()(input_ids=input_ids, adapter_names=names).logits
    recipe = "forward with adapter_names: one adapter for each row of the batch, __base__ is none; last are all logits of the last position"
    content = {"base": BASE, "adapters": list(ADAPTERS), "adapterNames": names, "inputIds": input_ids.tolist()}
    write_fixture("merging/mixed-batch.json", recipe, {**content, "logits": summary(logits), "last": numbers(logits[:, -1])})


def main():
    shutil.rmtree(ROOT / "merging", ignore_errors=True)
    write_adapters()
    write_mixed_batch()
    stream, bernoulli = Uniform(), torch.bernoulli
    use(stream)
    write_adapter_merges()
    write_model_merges(stream)
    torch.bernoulli = bernoulli


if __name__ == "__main__":
    main()
