"""What every reference script shares: one thread, fixed seeds, recorded versions, small readable JSON."""

import json
import math
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is made from seeds: nothing may be fetched

import peft
import torch
import transformers

torch.set_num_threads(1)  # one thread sums in one order, so a rerun writes the same digits
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ROOT = Path(__file__).resolve().parents[2] / "tests" / "conformance" / "reference"
DIGITS = 7  # a float32 has a little over seven significant digits


def versions():
    return {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}


def write_fixture(path, recipe, content):
    """Writes ROOT/path; `recipe` says in words how the numbers were made."""
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {"versions": versions(), "recipe": recipe, **content}
    target.write_text(to_lines(document) + "\n")


def to_lines(value, depth=2, indent=""):
    """JSON with one line for each entry of the outer `depth` levels of objects, compact within."""
    if depth == 0 or not isinstance(value, (dict, list)) or not value or (isinstance(value, list) and not isinstance(value[0], dict)):
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    inner = indent + " "
    if isinstance(value, list):
        lines = [inner + to_lines(item, depth - 1, inner) for item in value]
        return "[\n" + ",\n".join(lines) + "\n" + indent + "]"
    lines = [f"{inner}{json.dumps(key)}: {to_lines(item, depth - 1, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def number(value, digits=DIGITS):
    """A float with `digits` significant digits; minus infinity, which JSON lacks, becomes null."""
    return None if math.isinf(value) else float(f"{value:.{digits}g}")


def numbers(tensor, digits=DIGITS):
    """Nested lists in the shape of the tensor."""
    if tensor.dim() == 0:
        return number(tensor.item(), digits)
    return [numbers(row, digits) for row in tensor.detach()]


def summary(tensor):
    """Enough of a tensor to compare it: shape, Euclidean norm and the first eight values in row order."""
    flat = tensor.detach().reshape(-1)
    return {"shape": list(tensor.shape), "norm": number(flat.double().norm().item()), "first": numbers(flat[:8])}


def summaries(named_tensors):
    return {name: summary(tensor) for name, tensor in named_tensors}


def perturb(parameters, seed, scale=0.2):
    """Normal matrices, norm weights around one, biases around zero: nothing keeps the value that an initializer gave it."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in parameters:
        is_norm_weight = parameter.dim() == 1 and name.endswith("weight")
        center = 1.0 if is_norm_weight else 0.0
        with torch.no_grad():
            parameter.copy_(center + scale * torch.randn(parameter.shape, generator=generator))


def random_tokens(shape, vocab_size, seed):
    return torch.randint(0, vocab_size, shape, generator=torch.Generator().manual_seed(seed))
