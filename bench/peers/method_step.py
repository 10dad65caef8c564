"""The Python peer of bench/methods.ts: training steps of one method on one random model, by PEFT and transformers on PyTorch.

Takes one JSON argument (kind, config, method, tokens, batch, steps, threads) and prints one JSON line.
"""

import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers

# PEFT 0.21 asks for a method that transformers 5.18 no longer has; training does not call it.
transformers.GenerationMixin._prepare_encoder_decoder_kwargs_for_generation = None

CLASSES = {
    "causal-lm": (transformers.AutoModelForCausalLM, "CAUSAL_LM"),
    "masked-lm": (transformers.AutoModelForMaskedLM, None),
    "seq2seq-lm": (transformers.AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
}
# PEFT finds no layers by itself in models whose last module it cannot name; these are all linear layers of the blocks.
LINEAR = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gpt2": ["c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    "qwen3_moe": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "bert": ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense", "transform.dense"],
    "t5": ["q", "k", "v", "o", "wi", "wo"],
}
IA3 = {"bert": (["key", "value", "output.dense"], ["output.dense"])}


def peft_config(method, task, model_type):
    if method in ("lora", "dora"):
        return peft.LoraConfig(task_type=task, r=16, lora_alpha=32, target_modules=LINEAR[model_type], use_dora=method == "dora")
    if method == "vera":
        return peft.VeraConfig(task_type=task, target_modules=LINEAR[model_type])
    if method == "ia3":
        targets, feedforward = IA3.get(model_type, (None, None))
        return peft.IA3Config(task_type=task, target_modules=targets, feedforward_modules=feedforward)
    if method == "prompt-tuning":
        return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=20, prompt_tuning_init="RANDOM")
    if method == "p-tuning":
        return peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=20)
    return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=20)


def prepare(model, method, task):
    """Freezes and adds what the method says."""
    if method == "full":
        return model
    if method in ("bitfit", "last-layers"):
        layers = max(int(part) for name, _ in model.named_parameters() for part in name.split(".") if part.isdigit()) + 1
        last = {str(layers - 1), str(layers - 2)}
        for name, parameter in model.named_parameters():
            in_last = not name.startswith("encoder.") and bool(last & set(name.split("."))) or ".ln_f." in name or name == "model.norm.weight"
            parameter.requires_grad = name.endswith(".bias") if method == "bitfit" else in_last
        return model
    return peft.get_peft_model(model, peft_config(method, task, model.config.model_type))


def make_batch(kind, vocab_size, batch, tokens):
    ids = torch.randint(0, vocab_size, (batch, tokens))
    if kind == "causal-lm":
        return {"input_ids": ids, "labels": ids}
    if kind == "masked-lm":
        return {"input_ids": ids, "labels": torch.where(torch.arange(tokens)[None] % 20 < 3, ids, -100)}
    return {"input_ids": ids, "labels": torch.randint(0, vocab_size, (batch, tokens))}


def main():
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    cls, task = CLASSES[job["kind"]]
    config = dict(job["config"])
    model = cls.from_config(transformers.AutoConfig.for_model(config.pop("model_type"), **config))
    model = prepare(model, job["method"], task)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    inputs = make_batch(job["kind"], config["vocab_size"], job["batch"], job["tokens"])
    seconds = []
    for _ in range(job["steps"] + 1):
        start = time.perf_counter()
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    print(
        json.dumps(
            {
                "tokensPerSecond": job["batch"] * job["tokens"] / min(seconds[1:]),
                "trainableParameters": sum(p.numel() for p in parameters),
                "peakMemoryMb": peak,
                "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
            }
        )
    )


if __name__ == "__main__":
    main()
