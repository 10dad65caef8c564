"""Windows over contexts and where answers stand in them, as run_qa.py of transformers makes them, with fast tokenizers on made-up texts."""

import sys

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from fixture import write_fixture

QUESTIONS = [
    ("When did the café open?", "The old café (built in 1889) opened on 3 May 1891, after two years of work; it closed in 1950.", "3 May 1891"),
    ("Who wrote it?", "“Zürich’s Lake” was written by Anna-Maria O'Neil, who died at 47.", "Anna-Maria O'Neil"),
    ("How much?", "It costs $4.50 — no more, no less — and 20% less on Sundays.", "$4.50"),
    ("What is first?", "Ærø lies in Denmark. The naïve traveller goes by ship; others fly to Odense 🙂 first.", "fly to Odense 🙂"),
    ("Which word is last?", "one two three four five six seven eight nine ten eleven twelve thirteen", "thirteen"),
]
MAX_LENGTH, STRIDE = 28, 4


def windows(tokenizer, question, context, answer):
    """The loop of prepare_train_features; positions of the answer, or the first token where a window does not hold it."""
    start_char = context.index(answer)
    end_char = start_char + len(answer)
    encoded = tokenizer(
        question, context, truncation="only_second", max_length=MAX_LENGTH, stride=STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True
    )
    found = []
    for i, offsets in enumerate(encoded["offset_mapping"]):
        sequence = encoded.sequence_ids(i)
        first = sequence.index(1)
        last = len(sequence) - 1 - sequence[::-1].index(1)
        span = [0, 0]
        if offsets[first][0] <= start_char and offsets[last][1] >= end_char:
            start, end = first, last
            while start <= last and offsets[start][0] <= start_char:
                start += 1
            while offsets[end][1] >= end_char:
                end -= 1
            span = [start - 1, end + 1]
        found.append({"inputIds": encoded["input_ids"][i], "span": span})
    return found


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    if folder is None:
        print("answer_windows: skipped: name a folder with tokenizers (bert-base-uncased, gpt2) as the argument")
        return
    cases = []
    for name, cls, sep in [("bert-base-uncased", "[CLS]", "[SEP]"), ("gpt2", None, None)]:
        raw = Tokenizer.from_file(f"{folder}/{name}/tokenizer.json")
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **({"cls_token": cls, "sep_token": sep, "pad_token": "[PAD]"} if cls else {}))
        for question, context, answer in QUESTIONS:
            # Offsets of tokenizers count code points; ours, as JavaScript, UTF-16 units.
            start = len(context[: context.index(answer)].encode("utf-16-le")) // 2
            cases.append({"tokenizer": name, "question": question, "context": context, "answer": answer, "start": start, "windows": windows(tokenizer, question, context, answer)})
    write_fixture(
        "answer-windows/windows.json",
        "prepare_train_features of transformers' run_qa.py (truncation only_second) with the published tokenizers named",
        {"maxLength": MAX_LENGTH, "docStride": STRIDE, "cases": cases},
    )


if __name__ == "__main__":
    main()
