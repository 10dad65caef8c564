"""(IA)^3 by PEFT on the tiny models of families.py."""

from peft import IA3Config

from peft_case import write_case

# name, which is also the family's: IA3Config options
CASES = {
    "llama": dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "llama-bias": dict(target_modules=["q_proj", "v_proj", "up_proj", "down_proj"], feedforward_modules=["up_proj", "down_proj"]),
    "qwen3": dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "gpt2": dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True),
}


def main():
    for index, (name, options) in enumerate(CASES.items()):
        write_case(
            f"ia3/{name}",
            family=name,
            make_config=lambda options=options: IA3Config(task_type="CAUSAL_LM", **options),
            center=1,
            start="factors 1 plus a normal with deviation 0.2",
            seed=300 + 10 * index,
        )


if __name__ == "__main__":
    main()
