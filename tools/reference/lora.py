"""LoRA by PEFT on the tiny models of families.py: adapter folders, logits, gradients, a short training curve, merged weights."""

import json
import shutil

import torch
from peft import LoraConfig, VeraConfig, get_peft_model, get_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM

from families import VOCAB
from fixture import ROOT, number, numbers, perturb, random_tokens, summaries, write_fixture

OPTIMIZER = {"name": "adamw", "learningRate": 0.005, "weightDecay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
STEPS = 5
RECIPE = (
    "adapter/ holds the initial adapter: A and B normal with deviation 0.1 (modules_to_save 0.2), saved by PEFT; eval mode, no dropout; loss with labels = inputIds; "
    "lossBeforeStep[i] is the loss before AdamW step i+1, parametersAfterSteps the trained tensors after the last, merged the base weights that "
    "merge_and_unload changed, from the initial adapter"
)

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2_LINEAR = ["c_attn", "c_proj", "c_fc"]

# name: (family folder, LoraConfig options)
CASES = {
    "llama": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR)),
    "llama-rslora": ("llama", dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"], use_rslora=True)),
    "llama-patterns": (
        "llama",
        dict(
            r=4,
            lora_alpha=8,
            target_modules=ALL_LINEAR,
            rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 6, r"layers\.0\..*\.up_proj": 3},
            alpha_pattern={"v_proj": 16, "layers.0.mlp.gate_proj": 2},
        ),
    ),
    "llama-modules-to-save": ("llama", dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"], modules_to_save=["lm_head"])),
    "qwen2": ("qwen2", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR)),
    "gpt2": ("gpt2", dict(r=4, lora_alpha=8, target_modules=GPT2_LINEAR, fan_in_fan_out=True)),
    "llama-dora": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR, use_dora=True)),
    "gpt2-dora": ("gpt2", dict(r=4, lora_alpha=8, target_modules=GPT2_LINEAR, fan_in_fan_out=True, use_dora=True)),
    "qwen2-bias": ("qwen2", dict(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"], bias="lora_only")),
    "gpt2-all-biases": ("gpt2", dict(r=2, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True, bias="all")),
    "llama-some-layers": (
        "llama",
        dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR, exclude_modules=["up_proj"], layers_to_transform=[1], layers_pattern="layers"),
    ),
    "llama-lora-plus": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR)),
    "llama-vera": ("llama", dict(r=6, target_modules=ALL_LINEAR, d_initial=0.1)),
    "gpt2-vera": ("gpt2", dict(r=6, target_modules=GPT2_LINEAR, fan_in_fan_out=True)),
}
LORA_PLUS_RATIO = {"llama-lora-plus": 16.0}
# Softmax does not feel a bias on keys: its gradient is rounding noise, which Adam would blow up to whole steps with the usual epsilon.
EPSILON = {"gpt2-all-biases": 1e-4}


def attach(family, options, seed):
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager")
    kind = LoraConfig if "lora_alpha" in options else VeraConfig
    model = get_peft_model(base, kind(task_type="CAUSAL_LM", **options)).eval()
    model.peft_config["default"].base_model_name_or_path = f"../../../families/{family}"
    perturb([(n, p) for n, p in model.named_parameters() if p.requires_grad and ("lora_" in n or "vera_" in n)], seed, scale=0.1)
    perturb([(n, p) for n, p in model.named_parameters() if p.requires_grad and "lora_" not in n and "vera_" not in n], seed + 1)
    return model


def save_adapter(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty model card
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    for key in ("target_modules", "target_parameters", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()  # a set in memory: its order changes from run to run
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def trained(model):
    """Trained tensors under the names that adapter_model.safetensors uses."""
    named = [(file_name(n), p) for n, p in model.named_parameters() if p.requires_grad]
    saved = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    frozen = ("lm_head.trainable_tokens_delta", "vera_A", "vera_B")
    assert {n for n, _ in named} == {n for n in saved if not n.endswith(frozen)}  # a copy, where heads are tied
    return named


def file_name(name):
    return name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(".modules_to_save.default", "").replace(".default", "")


def train(model, input_ids, name=None):
    """The loss before each step."""
    options = dict(lr=OPTIMIZER["learningRate"], betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), eps=EPSILON.get(name, OPTIMIZER["epsilon"]), weight_decay=0.0)
    lora_plus_ratio = LORA_PLUS_RATIO.get(name)
    if lora_plus_ratio is None:
        optimizer = torch.optim.AdamW([p for _, p in trained(model)], **options)
    else:
        optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, loraplus_lr_ratio=lora_plus_ratio, **options)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=input_ids, labels=input_ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def merged_weights(family, model, input_ids, expected_logits, named=lambda model: model.state_dict().items()):
    """The weights that merging `model` into its base changes, by the names that `named` gives them."""
    base = dict(named(AutoModelForCausalLM.from_pretrained(ROOT / "families" / family)))
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(input_ids=input_ids).logits, expected_logits, atol=1e-4, rtol=1e-4)
    return summaries((n, w) for n, w in named(merged) if not torch.equal(w, base[n]))


def trained_case(family, make, input_ids, name=None, shows_logits=False, **merging):
    """Loss, gradients, what merging changes and the training curve of a model with an adapter. `make` gives the model, and gives it anew to be merged."""
    model = make()
    output = model(input_ids=input_ids, labels=input_ids)
    output.loss.backward()
    return {
        "base": f"families/{family}",
        "inputIds": input_ids.tolist(),
        "loss": number(output.loss.item()),
        **({"logits": numbers(output.logits)} if shows_logits else {}),
        "gradients": summaries((n, p.grad) for n, p in trained(model)),
        "merged": merged_weights(family, make(), input_ids, output.logits, **merging),
        "optimizer": {**OPTIMIZER, "epsilon": EPSILON.get(name, OPTIMIZER["epsilon"])},
        **({"loraPlusLrRatio": LORA_PLUS_RATIO[name]} if name in LORA_PLUS_RATIO else {}),
        "lossBeforeStep": [number(loss) for loss in train(model, input_ids, name)],
        "parametersAfterSteps": summaries(trained(model)),
    }


def write_case(name, seed):
    family, options = CASES[name]
    folder = ROOT / "lora" / name
    shutil.rmtree(folder, ignore_errors=True)
    save_adapter(attach(family, options, seed), folder / "adapter")
    content = trained_case(family, lambda: attach(family, options, seed), random_tokens((2, 12), VOCAB, seed), name, shows_logits=True)
    write_fixture(f"lora/{name}/reference.json", f"seed {seed}; {RECIPE}", content)


STARTS = {
    "llama-pissa": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR, init_lora_weights="pissa")),
    "gpt2-pissa": ("gpt2", dict(r=4, lora_alpha=8, target_modules=GPT2_LINEAR, fan_in_fan_out=True, init_lora_weights="pissa")),
    "llama-pissa-dora": ("llama", dict(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights="pissa", use_dora=True)),
    "llama-olora": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL_LINEAR, init_lora_weights="olora")),
}
START_RECIPE = "PEFT's own start; update = scale B A, which is free of the signs that singular vectors may have; residual the base weight left"


def write_start(name):
    """What an initialisation that reads the base weight makes of it, and the training curve from there (SGD: free of the vectors' signs)."""
    family, options = STARTS[name]
    base = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    layers = {n.removeprefix("base_model.model."): m for n, m in model.named_modules() if hasattr(m, "lora_A") and len(m.lora_A)}
    updates = summaries((n, m.get_delta_weight("default")) for n, m in layers.items())
    residuals = summaries((n, m.base_layer.weight) for n, m in layers.items())
    input_ids = random_tokens((2, 12), VOCAB, 260)
    optimizer = torch.optim.SGD([p for _, p in model.named_parameters() if p.requires_grad], lr=0.5)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=input_ids, labels=input_ids).loss
        loss.backward()
        optimizer.step()
        losses.append(number(loss.item()))
    lengths = {n: numbers(m.lora_magnitude_vector["default"].weight) for n, m in layers.items() if "default" in m.lora_magnitude_vector}
    content = {"base": f"families/{family}", "options": options, "updates": updates, "residuals": residuals, "inputIds": input_ids.tolist()}
    write_fixture(f"lora-start/{name}.json", START_RECIPE, {**content, "learningRate": 0.5, "lossBeforeStep": losses, "magnitudesAfter": lengths})


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=200 + 10 * index)
    for name in STARTS:
        write_start(name)


if __name__ == "__main__":
    main()
