"""The Python peer of the benchmark: one training step (or decoding) of a random Llama by transformers and PEFT on PyTorch.

Prints one JSON line. Defaults are the 135M shape: LoRA rank 16 on all linear layers, batch 1, 512 tokens, float32, AdamW.
All B*T tokens are read and every one that has a successor is supervised: B*(T-1) targets.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers

PROMPT_TOKENS = 32
SEED = 42


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--tokens", type=int, default=512, help="tokens of each row")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after one that is not timed")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the base model and of what is computed")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--intermediate", type=int, default=1536)
    parser.add_argument("--heads", type=int, default=9)
    parser.add_argument("--kv-heads", type=int, default=3)
    parser.add_argument("--vocab", type=int, default=49152)
    parser.add_argument("--generate", type=int, default=0, metavar="N", help=f"time N decoded tokens of the base model after a {PROMPT_TOKENS}-token prompt instead")
    arguments = parser.parse_args()
    if min(arguments.tokens - 1, arguments.batch, arguments.steps, arguments.layers) < 1:
        parser.error("--tokens must be at least 2; --batch, --steps and --layers at least 1")
    return arguments


def build_model(arguments):
    torch.manual_seed(SEED)
    config = transformers.LlamaConfig(
        vocab_size=arguments.vocab,
        hidden_size=arguments.hidden,
        intermediate_size=arguments.intermediate,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads,
        max_position_embeddings=max(2048, arguments.tokens, PROMPT_TOKENS + arguments.generate + 1),
        tie_word_embeddings=True,
        dtype="float32",
    )
    return transformers.LlamaForCausalLM(config).to(getattr(torch, arguments.dtype))


def add_lora(model):
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    return peft.get_peft_model(model, config)


def time_steps(model, arguments):
    """Seconds of each timed step; the first step, which also allocates, is left out."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    input_ids = torch.randint(0, arguments.vocab, (arguments.batch, arguments.tokens))
    model.train()
    seconds = []
    for _ in range(arguments.steps + 1):
        start = time.perf_counter()
        loss = model(input_ids=input_ids, labels=input_ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:], loss.item(), sum(p.numel() for p in parameters)


def train_row(model, arguments):
    if arguments.method == "lora":
        model = add_lora(model)
    seconds, loss, trainable = time_steps(model, arguments)
    best = min(seconds)
    return {
        "task": "train",
        "method": arguments.method,
        "dtype": arguments.dtype,
        "batch": arguments.batch,
        "tokens": arguments.tokens,
        "trainableParameters": trainable,
        "secondsPerStep": [round(s, 4) for s in seconds],
        "bestSeconds": round(best, 4),
        "tokensPerSecond": round(arguments.batch * arguments.tokens / best, 2),
        "loss": round(loss, 5),
    }


def timed_generate(model, prompt, new_tokens):
    start = time.perf_counter()
    model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0)
    return time.perf_counter() - start


def generate_row(model, arguments):
    """Decoding alone: the time for one token (which includes the prompt) is subtracted."""
    model.eval()
    prompt = torch.randint(3, arguments.vocab, (arguments.batch, PROMPT_TOKENS))
    timed_generate(model, prompt, 2)
    prefill = min(timed_generate(model, prompt, 1) for _ in range(2))
    seconds = [timed_generate(model, prompt, arguments.generate + 1) - prefill for _ in range(arguments.steps)]
    return {
        "task": "generate",
        "batch": arguments.batch,
        "promptTokens": PROMPT_TOKENS,
        "newTokens": arguments.generate,
        "prefillSeconds": round(prefill, 4),
        "seconds": [round(s, 4) for s in seconds],
        "tokensPerSecond": round(arguments.batch * arguments.generate / min(seconds), 2),
    }


def peak_memory_mb():
    """Peak resident memory of this process in MB (1e6 bytes); Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def main():
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = build_model(arguments)
    shape = {"layers": arguments.layers, "hidden": arguments.hidden, "parameters": model.num_parameters()}
    row = generate_row(model, arguments) if arguments.generate else train_row(model, arguments)
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    print(json.dumps({**row, "shape": shape, "threads": torch.get_num_threads(), "peakMemoryMb": peak_memory_mb(), "versions": versions}))


if __name__ == "__main__":
    main()
