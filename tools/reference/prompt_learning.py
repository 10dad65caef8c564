"""Prompt tuning, P-tuning and prefix tuning by PEFT on the tiny models of families.py."""

import json
import shutil

import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from families import VOCAB
from fixture import ROOT, number, perturb, random_tokens, summaries, summary, write_fixture
from lora import OPTIMIZER, STEPS
from peft_case import load_base

RECIPE = (
    "initial.safetensors holds the trained tensors, normal with deviation 0.3, under PEFT's names without the adapter's; adapter/ is what PEFT saves of them; "
    "eval mode; labels are inputIds, of which the first of each row is not supervised; lossBeforeStep[i] is the loss before AdamW step i+1, "
    "parametersAfterSteps the trained tensors after the last; generated is the greedy continuation of the first row"
)
TOKENS = 5

# name: (family, PEFT config class, its options, the same as our configuration)
CASES = {
    "prompt-tuning/llama": ("llama", PromptTuningConfig, {}, {}),
    "prompt-tuning/gpt2": ("gpt2", PromptTuningConfig, {}, {}),
    "prompt-tuning/mistral": ("mistral", PromptTuningConfig, {}, {}),
    "p-tuning/llama-mlp": ("llama", PromptEncoderConfig, dict(encoder_hidden_size=12), dict(encoderHiddenSize=12)),
    "p-tuning/gpt2-lstm": (
        "gpt2",
        PromptEncoderConfig,
        dict(encoder_reparameterization_type="LSTM", encoder_hidden_size=6, encoder_num_layers=2),
        dict(encoderReparameterizationType="LSTM", encoderHiddenSize=6, encoderNumLayers=2),
    ),
    "prefix-tuning/llama": ("llama", PrefixTuningConfig, {}, {}),
    "prefix-tuning/gpt2": ("gpt2", PrefixTuningConfig, {}, {}),
    "prefix-tuning/mistral": ("mistral", PrefixTuningConfig, {}, {}),
    "prefix-tuning/qwen3": ("qwen3", PrefixTuningConfig, {}, {}),
    "prefix-tuning/smollm3": ("smollm3", PrefixTuningConfig, {}, {}),
    "prefix-tuning/llama-projection": (
        "llama",
        PrefixTuningConfig,
        dict(prefix_projection=True, encoder_hidden_size=10),
        dict(prefixProjection=True, encoderHiddenSize=10),
    ),
    "prefix-tuning/gpt2-projection": (
        "gpt2",
        PrefixTuningConfig,
        dict(prefix_projection=True, encoder_hidden_size=10),
        dict(prefixProjection=True, encoderHiddenSize=10),
    ),
}


def trained(model):
    return [(n.replace(".default", ""), p) for n, p in model.named_parameters() if p.requires_grad]


def loss_of(model, input_ids):
    labels = input_ids.clone()
    labels[:, 0] = -100
    return model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), labels=labels).loss


def train(model, input_ids):
    parameters = [p for _, p in trained(model)]
    betas = (OPTIMIZER["beta1"], OPTIMIZER["beta2"])
    optimizer = torch.optim.AdamW(parameters, lr=OPTIMIZER["learningRate"], betas=betas, eps=OPTIMIZER["epsilon"], weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, input_ids)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def greedy(model, prompt, new_tokens):
    """Without a cache: the whole sequence again for every token."""
    tokens = prompt
    for _ in range(new_tokens):
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[:, -1]
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    return tokens[0, prompt.shape[1] :].tolist()


def save(model, folder):
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink()
    path = folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2, sort_keys=True))
    save_file({n: p.detach().contiguous() for n, p in trained(model)}, folder / "initial.safetensors")


def write_case(name, seed):
    family, config_class, options, ours = CASES[name]
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = get_peft_model(load_base(family), config_class(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, **options)).eval()
    model.peft_config["default"].base_model_name_or_path = f"../../../families/{family}"
    perturb([(n, p) for n, p in model.named_parameters() if p.requires_grad], seed, scale=0.3)
    save(model, folder)
    input_ids = random_tokens((2, 12), VOCAB, seed)
    with torch.no_grad():
        generated = greedy(model, input_ids[:1], 6)
    loss = loss_of(model, input_ids)
    loss.backward()
    content = {
        "base": f"families/{family}",
        "method": {"name": name.split("/")[0], "numVirtualTokens": TOKENS, **ours},
        "inputIds": input_ids.tolist(),
        "loss": number(loss.item()),
        "gradients": summaries((n, p.grad) for n, p in trained(model)),
        "saved": summary(load_file(folder / "adapter" / "adapter_model.safetensors")["prompt_embeddings"]),
        "generated": generated,
        "optimizer": OPTIMIZER,
        "lossBeforeStep": [number(loss) for loss in train(model, input_ids)],
        "parametersAfterSteps": summaries(trained(model)),
    }
    write_fixture(f"{name}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=400 + 10 * index)


if __name__ == "__main__":
    main()
