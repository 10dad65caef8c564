"""What transformers' logits processors make of given logits, and what its generate() makes of prompts for the tiny models."""

import copy

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.generation import logits_process

from families import VOCAB
from fixture import ROOT, number, numbers, random_tokens, write_fixture

VOCABULARY = 16
NEW_TOKENS = 12
GREEDY_SEEDS = {"llama": 510, "gpt2": 511, "mistral": 522, "smollm3": 513}  # chosen so that no two best logits nearly tie
# Each option's processor, in the order in which generate() applies them.
PROCESSORS = {
    "repetitionPenalty": "RepetitionPenaltyLogitsProcessor",
    "noRepeatNgramSize": "NoRepeatNGramLogitsProcessor",
    "minNewTokens": "MinNewTokensLengthLogitsProcessor",
    "temperature": "TemperatureLogitsWarper",
    "topK": "TopKLogitsWarper",
    "topP": "TopPLogitsWarper",
    "minP": "MinPLogitsWarper",
    "typicalP": "TypicalLogitsWarper",
    "epsilonCutoff": "EpsilonLogitsWarper",
}
END_TOKENS = [3, 8]
PROMPT_TOKENS = 2
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
    dict(noRepeatNgramSize=1),
    dict(noRepeatNgramSize=2),
    dict(noRepeatNgramSize=3),
    dict(noRepeatNgramSize=9),
    dict(minNewTokens=5),
    dict(minNewTokens=6),
    dict(minNewTokens=7),
    dict(typicalP=0.2),
    dict(typicalP=0.9),
    dict(epsilonCutoff=0.03),
    dict(epsilonCutoff=0.9),
    dict(repetitionPenalty=1.2, noRepeatNgramSize=2, temperature=0.8, topK=12, typicalP=0.8, epsilonCutoff=0.05),
]
# What was generated before; of the second half of the cases with runs that come twice.
PREVIOUS = [[1, 5, 5, 9], [0, 2, 15, 3]]
REPEATING = [[4, 7, 4, 7, 11, 2, 4, 7], [6, 6, 1, 6, 6, 1, 6, 6]]
REPEATING_FROM = 14

BATCHES = {  # prompt lengths of each row, and a seed
    "llama": ([6, 2, 9], 520),
    "gpt2": ([3, 8, 5], 541),
    "mistral": ([12, 4], 522),  # its window is shorter than the longest prompt
    "smollm3": ([2, 7], 523),
    "gpt_neox": ([4, 7], 524),
    "opt": ([6, 3], 525),
    "phi3": ([5, 9], 526),
    "gemma2": ([3, 11], 527),
    "gemma3_text": ([11, 4], 528),
    "olmo2": ([2, 6], 529),
    "granite": ([7, 3], 530),
    "mixtral": ([5, 2], 531),
    "qwen3_moe": ([4, 8], 532),
}
WHOLE = ["llama", "gpt2", "mistral", "smollm3"]  # all cases
SOME_CASES = [dict(), dict(numBeams=3, lengthPenalty=2.0, numReturnSequences=2)]
ENDS = list(range(5, 15))  # so many end tokens that some texts end before others
BEAM_CASES = [
    dict(numBeams=2),
    dict(numBeams=4, numReturnSequences=4),
    dict(numBeams=3, lengthPenalty=0.0, numReturnSequences=3),
    dict(numBeams=3, lengthPenalty=2.0, numReturnSequences=3),
    dict(numBeams=3, lengthPenalty=-1.0, numReturnSequences=2),
    dict(numBeams=3, earlyStopping=True, numReturnSequences=3),
    dict(numBeams=3, earlyStopping="never", numReturnSequences=3),
    dict(numBeams=3, earlyStopping="never", lengthPenalty=-0.5, numReturnSequences=3),
    dict(numBeams=4, noRepeatNgramSize=2, numReturnSequences=2),
    dict(numBeams=3, minNewTokens=6, numReturnSequences=3),
    dict(numBeams=3, repetitionPenalty=1.4, noRepeatNgramSize=3, minNewTokens=2),
]
# Sources of different lengths, and a seed.
ENCODER_DECODERS = {"t5": ([6, 11, 3], 540), "mt5": ([5, 9], 541), "bart": ([4, 10, 7], 542)}
ENCODER_DECODER_CASES = [
    dict(),
    dict(numBeams=2, numReturnSequences=2),
    dict(numBeams=4, lengthPenalty=2.0, numReturnSequences=3),
    dict(numBeams=3, earlyStopping=True, noRepeatNgramSize=2),
    dict(numBeams=3, forcedBosTokenId=20, forcedEosTokenId=7),
    dict(forcedBosTokenId=20, forcedEosTokenId=7),
]
GENERATE_NAMES = {
    "forcedBosTokenId": "forced_bos_token_id",
    "forcedEosTokenId": "forced_eos_token_id",
    "numBeams": "num_beams",
    "numReturnSequences": "num_return_sequences",
    "lengthPenalty": "length_penalty",
    "earlyStopping": "early_stopping",
    "noRepeatNgramSize": "no_repeat_ngram_size",
    "minNewTokens": "min_new_tokens",
    "repetitionPenalty": "repetition_penalty",
}


def create_processor(option, value):
    arguments = [PROMPT_TOKENS, value, torch.tensor(END_TOKENS)] if option == "minNewTokens" else [value]
    return getattr(logits_process, PROCESSORS[option])(*arguments)


def process(options, input_ids, logits):
    scores = logits.clone()
    for option in PROCESSORS:
        if option in options:
            scores = create_processor(option, options[option])(input_ids, scores)
    return {"options": options, "inputIds": input_ids.tolist(), "processed": numbers(scores), "probabilities": numbers(scores.softmax(-1))}


def write_processors():
    generator = torch.Generator().manual_seed(500)
    logits = torch.tensor(numbers(2 * torch.randn(2, VOCABULARY, generator=generator), 4))
    previous = [torch.tensor(PREVIOUS if i < REPEATING_FROM else REPEATING) for i in range(len(CASES))]
    cases = [process(options, input_ids, logits) for options, input_ids in zip(CASES, previous)]
    content = {"logits": numbers(logits), "endTokens": END_TOKENS, "promptTokens": PROMPT_TOKENS, "cases": cases}
    recipe = "transformers LogitsProcessor classes in generate()'s order; null is minus infinity; probabilities is the softmax"
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


def padded(rows, on_the_right):
    """Rows of different lengths with their mask: decoders want padding on the left, encoders on the right."""
    longest = max(len(row) for row in rows)

    def pad(row):
        padding = [0] * (longest - len(row))
        return row + padding if on_the_right else padding + row

    return torch.tensor([pad(row) for row in rows]), torch.tensor([pad([1] * len(row)) for row in rows])


def generated(model, prompts, **options):
    """The new tokens of every text up to its end token, and the scores of beam search."""
    input_ids, attention_mask = padded(prompts, on_the_right=model.config.is_encoder_decoder)
    prompt_tokens = 1 if model.config.is_encoder_decoder else input_ids.shape[1]
    # transformers 5.18 makes T5's cache with as many layers as the encoder has, which may be too few.
    options = dict(do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=ENDS, pad_token_id=0, use_cache=not model.config.is_encoder_decoder, **options)
    output = model.generate(input_ids, attention_mask=attention_mask, return_dict_in_generate=True, output_scores=True, **options)
    texts = []
    for row in output.sequences[:, prompt_tokens:].tolist():
        end = next((i for i, token in enumerate(row) if token in ENDS), len(row) - 1)
        texts.append(row[: end + 1])
    return texts, output.get("sequences_scores")


def batch_cases(name, model, prompts, all_options):
    """One call of generate() for several prompts. Each alone gives the same tokens in float64, so that none hangs on rounding."""
    exact = copy.deepcopy(model).double()
    cases = []
    for options in all_options:
        arguments = {GENERATE_NAMES[option]: value for option, value in options.items()}
        texts, scores = generated(model, prompts, **arguments)
        alone = [text for prompt in prompts for text in generated(exact, [prompt], **arguments)[0]]
        assert texts == alone, f"{name} {options}: depends on rounding; choose another seed"
        count = options.get("numReturnSequences", 1)
        case = {"options": options, "ids": [texts[i : i + count] for i in range(0, len(texts), count)]}
        if scores is not None:
            case["scores"] = [numbers(scores[i : i + count]) for i in range(0, len(texts), count)]
        cases.append(case)
    return cases


def write_batches():
    families = {}
    for family, (lengths, seed) in BATCHES.items():
        # The other ways to run experts do not take float64.
        eager = dict(attn_implementation="eager", experts_implementation="eager")
        model = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, **eager).eval()
        prompts = [random_tokens((1, length), VOCAB, seed + i)[0].tolist() for i, length in enumerate(lengths)]
        all_options = [dict(), *BEAM_CASES] if family in WHOLE else SOME_CASES
        families[family] = {"base": f"families/{family}", "prompts": prompts, "cases": batch_cases(family, model, prompts, all_options)}
    recipe = "generate(do_sample=False) on prompts of different lengths, padded on the left; ids up to and with the first end token; scores are sequences_scores"
    write_fixture("generation/batches.json", recipe, {"newTokens": NEW_TOKENS, "endTokens": ENDS, "families": families})


def write_encoder_decoders():
    families = {}
    for family, (lengths, seed) in ENCODER_DECODERS.items():
        model = AutoModelForSeq2SeqLM.from_pretrained(ROOT / "encoder-decoders" / family, attn_implementation="eager").eval()
        model.generation_config.forced_eos_token_id = None
        sources = [(random_tokens((length,), VOCAB - 3, seed + i) + 3).tolist() for i, length in enumerate(lengths)]
        cases = batch_cases(family, model, sources, ENCODER_DECODER_CASES)
        families[family] = {"base": f"encoder-decoders/{family}", "sources": sources, "start": model.config.decoder_start_token_id, "cases": cases}
    recipe = "as batches.json; the prompts are sources for the encoder, and the ids are the decoder's behind its start token"
    write_fixture("generation/encoder-decoders.json", recipe, {"newTokens": NEW_TOKENS, "endTokens": ENDS, "families": families})


def main():
    write_processors()
    write_greedy()
    write_batches()
    write_encoder_decoders()


if __name__ == "__main__":
    main()
