"""(IA)^3 by PEFT on the tiny models of families.py: adapter folders, loss, gradients, a short training curve, merged weights."""

import shutil

import torch
from peft import IA3Config, get_peft_model
from transformers import AutoModelForCausalLM

from families import VOCAB
from fixture import ROOT, number, perturb, random_tokens, summaries, write_fixture
from lora import OPTIMIZER, save_adapter, train, trained

RECIPE = (
    "adapter/ holds the initial adapter: factors 1 plus a normal with deviation 0.2, saved by PEFT; eval mode; loss with labels = inputIds; "
    "lossBeforeStep[i] is the loss before AdamW step i+1, parametersAfterSteps the trained tensors after the last, merged the base weights "
    "that merge_and_unload changed, from the initial adapter"
)

# name: (family folder, IA3Config options)
CASES = {
    "llama": ("llama", dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "llama-bias": ("llama-bias", dict(target_modules=["q_proj", "v_proj", "up_proj", "down_proj"], feedforward_modules=["up_proj", "down_proj"])),
    "qwen3": ("qwen3", dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "gpt2": ("gpt2", dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True)),
}


def attach(family, options, seed):
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager")
    model = get_peft_model(base, IA3Config(task_type="CAUSAL_LM", **options)).eval()
    model.peft_config["default"].base_model_name_or_path = f"../../../families/{family}"
    factors = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    perturb(factors, seed)
    with torch.no_grad():
        for _, factor in factors:
            factor += 1
    return model


def merged_weights(family, options, seed, input_ids, expected_logits):
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family).state_dict()
    merged = attach(family, options, seed).merge_and_unload()
    torch.testing.assert_close(merged(input_ids=input_ids).logits, expected_logits, atol=1e-4, rtol=1e-4)
    return summaries((n, w) for n, w in merged.state_dict().items() if not torch.equal(w, base[n]))


def write_case(name, seed):
    family, options = CASES[name]
    folder = ROOT / "ia3" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = attach(family, options, seed)
    save_adapter(model, folder / "adapter")
    input_ids = random_tokens((2, 12), VOCAB, seed)
    output = model(input_ids=input_ids, labels=input_ids)
    output.loss.backward()
    content = {
        "base": f"families/{family}",
        "inputIds": input_ids.tolist(),
        "loss": number(output.loss.item()),
        "gradients": summaries((n, p.grad) for n, p in trained(model)),
        "merged": merged_weights(family, options, seed, input_ids, output.logits),
        "optimizer": OPTIMIZER,
        "lossBeforeStep": [number(loss) for loss in train(model, input_ids)],
        "parametersAfterSteps": summaries(trained(model)),
    }
    write_fixture(f"ia3/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=300 + 10 * index)


if __name__ == "__main__":
    main()
