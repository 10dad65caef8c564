"""Writes every fixture under tests/conformance/reference again. Families come first: the methods and generation read their weights."""

import families
import generation
import ia3
import lora
import new_tokens
import objectives
import optimizers
import prompt_learning
from fixture import versions

if __name__ == "__main__":
    for area in (families, lora, ia3, new_tokens, prompt_learning, optimizers, objectives, generation):
        area.main()
        print(f"{area.__name__}: written")
    print(versions())
