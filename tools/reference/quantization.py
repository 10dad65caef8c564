"""Writes quantization/: weights with the codes and scales that bitsandbytes gives them on the CPU, and what they stand for.

int8: bitsandbytes.nn.Int8Params, which rounds to float16 and calls int8_vectorwise_quant (CPU: its implementation in PyTorch).
nf4: bitsandbytes.functional.quantize_4bit (CPU: in PyTorch; the scales of scales by its C++ quantize_blockwise).
"""

import logging

from fixture import ROOT, write_fixture

logging.disable(logging.WARNING)  # a kernel for inference that is not installed is reported on import

import bitsandbytes
import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

# name -> shape, element type, block size, deviation. Shapes: whole blocks; a partial block; more than one group of 256 scales.
CASES = {
    "small": ((8, 64), torch.float32, 64, 0.02),
    "partial": ((5, 30), torch.float32, 64, 1.0),
    "groups": ((72, 128), torch.bfloat16, 32, 0.05),
    "bfloat16": ((10, 96), torch.bfloat16, 64, 0.02),
    "float16": ((10, 96), torch.float16, 64, 0.02),
    "blocks-of-128": ((8, 64), torch.float32, 128, 0.02),
    "blocks-of-256": ((8, 64), torch.float32, 256, 0.02),
}
DECODED = ("small", "partial")


def weight_of(name, index):
    shape, dtype, _, deviation = CASES[name]
    weight = deviation * torch.randn(shape, generator=torch.Generator().manual_seed(1000 + index))
    if name == "small":
        weight[0, :64] = 0  # a block without a largest number
        weight[1, 3] = 0.5  # an outlier
    return weight.to(dtype)


def main():
    tensors = {}
    for index, name in enumerate(CASES):
        weight = weight_of(name, index)
        block_size = CASES[name][2]
        tensors[f"{name}.weight"] = weight
        for double in (False, True):
            codes, state = F.quantize_4bit(weight, blocksize=block_size, compress_statistics=double, quant_type="nf4")
            prefix = f"{name}.{'nf4-double' if double else 'nf4'}"
            tensors[f"{prefix}.codes"] = codes.reshape(-1)
            tensors[f"{prefix}.absmax"] = state.absmax
            if double:
                tensors[f"{prefix}.nested_absmax"] = state.state2.absmax
                tensors[f"{prefix}.nested_offset"] = state.offset.reshape(1)
            state.dtype = torch.float32
            if name in DECODED:
                tensors[f"{prefix}.decoded"] = F.dequantize_4bit(codes, state)
        quantised = bitsandbytes.nn.Int8Params(weight.clone(), requires_grad=False).to("cpu")
        tensors[f"{name}.int8.codes"] = quantised.data.clone()
        tensors[f"{name}.int8.SCB"] = quantised.SCB
        if name in DECODED:
            tensors[f"{name}.int8.decoded"] = F.int8_vectorwise_dequant(quantised.data, quantised.SCB)
    tensors["dynamic_map"] = F.create_dynamic_map()
    folder = ROOT / "quantization"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "weights.safetensors")
    cases = {name: {"shape": list(shape), "blockSize": size} for name, (shape, _, size, _) in CASES.items()}
    write_fixture(
        "quantization/cases.json",
        f"bitsandbytes {bitsandbytes.__version__} on the CPU; normal weights, seed 1000 + number of the case",
        {"bitsandbytes": bitsandbytes.__version__, "cases": cases},
    )


if __name__ == "__main__":
    main()
