"""What transformers' logits processors make of given logits, and greedy continuations of the tiny models."""

import torch
from transformers import AutoModelForCausalLM
from transformers.generation import logits_process

from families import VOCAB
from fixture import ROOT, number, numbers, random_tokens, write_fixture

VOCABULARY = 16
NEW_TOKENS = 12
GREEDY_SEEDS = {"llama": 510, "gpt2": 511, "mistral": 522, "smollm3": 513}  # chosen so that no two best logits nearly tie
# Each option's processor, in the order in which generate() applies them.
PROCESSORS = {
    "repetitionPenalty": "RepetitionPenaltyLogitsProcessor",
    "temperature": "TemperatureLogitsWarper",
    "topK": "TopKLogitsWarper",
    "topP": "TopPLogitsWarper",
    "minP": "MinPLogitsWarper",
}
CASES = [
    dict(temperature=0.7),
    dict(temperature=2.5),
    dict(topK=1),
    dict(topK=4),
    dict(topK=50),
    dict(topP=0.1),
    dict(topP=0.6),
    dict(topP=0.95),
    dict(minP=0.05),
    dict(minP=0.5),
    dict(repetitionPenalty=1.3),
    dict(repetitionPenalty=0.8),
    dict(temperature=0.7, topK=6, topP=0.8),
    dict(repetitionPenalty=1.2, temperature=1.5, topK=10, topP=0.9, minP=0.1),
]


def process(options, input_ids, logits):
    scores = logits.clone()
    for option, class_name in PROCESSORS.items():
        if option in options:
            scores = getattr(logits_process, class_name)(options[option])(input_ids, scores)
    return {"options": options, "processed": numbers(scores), "probabilities": numbers(scores.softmax(-1))}


def write_processors():
    generator = torch.Generator().manual_seed(500)
    logits = torch.tensor(numbers(2 * torch.randn(2, VOCABULARY, generator=generator), 4))
    input_ids = torch.tensor([[1, 5, 5, 9], [0, 2, 15, 3]])  # what was generated so far; a repeated token is penalised once
    content = {"inputIds": input_ids.tolist(), "logits": numbers(logits), "cases": [process(options, input_ids, logits) for options in CASES]}
    recipe = "transformers LogitsProcessor classes in generate()'s order: repetition penalty, temperature, top-k, top-p, min-p; null is minus infinity; probabilities is the softmax"
    write_fixture("generation/processors.json", recipe, content)


def greedy(family, seed):
    model = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager").eval()
    prompt = random_tokens((1, 6), VOCAB, seed)
    options = dict(do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, pad_token_id=0, eos_token_id=None)
    output = model.generate(prompt, attention_mask=torch.ones_like(prompt), return_dict_in_generate=True, output_logits=True, **options)
    best = torch.stack(output.logits).squeeze(1).topk(2, dim=-1).values
    margin = (best[:, 0] - best[:, 1]).min().item()
    assert margin > 1e-3, f"{family}: two tokens are within {margin}; choose another seed"
    return {
        "base": f"families/{family}",
        "prompt": prompt[0].tolist(),
        "generated": output.sequences[0, prompt.shape[1] :].tolist(),
        "logits": numbers(torch.stack([rows[0, :8] for rows in output.logits])),
        "smallestMargin": number(margin, 3),
    }


def write_greedy():
    cases = {family: greedy(family, seed) for family, seed in GREEDY_SEEDS.items()}
    recipe = "generate(do_sample=False) with the KV cache, no end token; logits are the first 8 of each step; smallestMargin is the least distance of the best two logits"
    write_fixture("generation/greedy.json", recipe, {"newTokens": NEW_TOKENS, "cases": cases})


def main():
    write_processors()
    write_greedy()


if __name__ == "__main__":
    main()
