"""Trainable tokens by PEFT on the tiny models of families.py: tied and untied heads."""

from peft import TrainableTokensConfig

from peft_case import write_case

FAMILIES = ["llama", "llama-tied", "gpt2"]
TOKENS = [7, 0, 81]


def main():
    for index, family in enumerate(FAMILIES):
        write_case(
            f"new-tokens/{family}",
            family=family,
            make_config=lambda: TrainableTokensConfig(task_type="CAUSAL_LM", token_indices=TOKENS),
            center=None,
            start="rows of the base plus a normal with deviation 0.2",
            seed=340 + 10 * index,
            present=TOKENS,
        )


if __name__ == "__main__":
    main()
