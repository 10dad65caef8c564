"""Writes every fixture under tests/conformance/reference again. Families come first: LoRA and generation read their weights."""

import families
import generation
import linear_algebra
import lora
import merging
import objectives
import optimizers
from fixture import versions

if __name__ == "__main__":
    for area in (families, lora, optimizers, objectives, generation, linear_algebra, merging):
        area.main()
        print(f"{area.__name__}: written")
    print(versions())
