"""Small tokenizers in the files of before tokenizer.json, trained here, and what transformers (sentencepiece for its own models) makes of texts."""

import json
import shutil
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import BartTokenizer, BertTokenizer, GPT2Tokenizer, RobertaTokenizer

from fixture import ROOT, write_fixture

CORPUS = [
    "The bear eats berries, and the bird eats bread.",
    "Where does the bird go when the bear comes?",
    "A bear's den isn't far: 12 metres, or 3.5 of them.",
    "Über den Flüssen: où est le café? naïve façade.",
    "the the the and and bear bear bird bird berries bread",
] * 4
TEXTS = [
    "The bear eats berries.",
    "  two  spaces, then\ta tab ",
    "où est l'Ours? 12.5 €",
    "bird 日本 😀 done",
    "it isn't <mask> here",
    "UPPER lower MiXed",
]
PAIR = ("The bear", "eats bread")
AREA = "older-tokenizers"
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def folder_of(name):
    folder = ROOT / AREA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def expected(name, tokenizer):
    """Of a tokenizer of transformers, opened from the folder as it is."""
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    texts = [{"text": text, "ids": ids(text), "whole": tokenizer(text)["input_ids"]} for text in TEXTS]
    write_fixture(f"{AREA}/{name}/reference.json", "transformers", {"texts": texts, "pair": {"texts": PAIR, "ids": tokenizer(*PAIR)["input_ids"]}})


def word_pieces(name, config):
    words = "the bear bird eats go when where isn ' t 12 . 5 3 , ? ou est l ours od où UPPER MiXed upper lower mixed The".split(" ")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words), "ber", "##ries", "##er", "##s", "##d", "日", "本", "bread"]
    folder = folder_of(name)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    if config is not None:
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **config})
    expected(name, BertTokenizer.from_pretrained(str(folder), **(config or {})))


def merges(name, tokenizer_class, special_tokens, config, model_type=None):
    folder = folder_of(name)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=330, min_frequency=2, special_tokens=special_tokens)
    trained.save_model(str(folder))
    if config is not None:
        write_json(folder / "tokenizer_config.json", config)
    if model_type is not None:
        write_json(folder / "config.json", {"model_type": model_type})
    # transformers asks for config.json of a folder where there is one; the class is named here.
    # Published RoBERTa and BART have a mask that takes the space before it; transformers 5 leaves that to tokenizer.json.
    mask = {"mask_token": AddedToken("<mask>", lstrip=True, special=True)} if "<mask>" in special_tokens else {}
    arguments = mask | {key: value for key, value in (config or {}).items() if key != "tokenizer_class"}
    expected(name, tokenizer_class(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), **arguments))


def sentences(name, file, kind, **options):
    folder = folder_of(name)
    with tempfile.TemporaryDirectory() as temporary:
        prefix = Path(temporary) / "model"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_prefix=str(prefix), model_type=kind, normalization_rule_name="identity", minloglevel=2, **options
        )
        shutil.copy(f"{prefix}.model", folder / file)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / file))
    texts = [{"text": text, "ids": processor.encode(text)} for text in TEXTS if "<mask>" not in text]
    write_fixture(f"{AREA}/{name}/reference.json", "sentencepiece", {"sentencepiece": sentencepiece.__version__, "texts": texts})


def main():
    word_pieces("bert", None)
    word_pieces("bert-cased", {"do_lower_case": False})
    word_pieces("bert-accents", {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False})
    merges("gpt2", GPT2Tokenizer, ["<|endoftext|>"], None)
    merges("roberta", RobertaTokenizer, ROBERTA, None, model_type="roberta")
    merges("bart", BartTokenizer, ROBERTA, {"tokenizer_class": "BartTokenizer"})
    merges("roberta-prefix-space", RobertaTokenizer, ROBERTA, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True})
    sentences("unigram", "spiece.model", "unigram", vocab_size=58, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    sentences("bpe-bytes", "tokenizer.model", "bpe", vocab_size=360, byte_fallback=True, remove_extra_whitespaces=False, split_digits=True)
    sentences("bpe-no-prefix", "tokenizer.model", "bpe", vocab_size=360, byte_fallback=True, remove_extra_whitespaces=False, add_dummy_prefix=False)
    sentences("bpe-tidy", "tokenizer.model", "bpe", vocab_size=120)


if __name__ == "__main__":
    main()
