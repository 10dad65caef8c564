"""The Python peer of bench/generation.ts: transformers' generate() on a random Llama of the 135M shape, greedy or by beam search.

Takes one JSON argument (batch, numBeams, promptTokens, newTokens, repeats, threads) and prints one JSON line.
"""

import json
import resource
import sys
import time

import torch
import transformers


def main():
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(1)
    sizes = dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3)
    config = transformers.LlamaConfig(**sizes, max_position_embeddings=8192, tie_word_embeddings=True)
    model = transformers.LlamaForCausalLM(config).eval()
    prompt = torch.randint(3, 49152, (job["batch"], job["promptTokens"]))

    def seconds(new_tokens):
        started = time.perf_counter()
        options = dict(do_sample=False, num_beams=job["numBeams"], max_new_tokens=new_tokens, min_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0)
        model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
        return time.perf_counter() - started

    seconds(2)
    prefill = min(seconds(1) for _ in range(job["repeats"]))
    whole = min(seconds(job["newTokens"] + 1) for _ in range(job["repeats"]))
    result = {
        "prefillSeconds": prefill,
        "tokensPerSecond": job["batch"] * job["newTokens"] / (whole - prefill),
        "peakMemoryMb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
    }
    print(json.dumps(result))


main()
