"""Metrics of written texts by sacrebleu (corpus_bleu, corpus_chrf) and rouge-score, on hand-made texts and random edits of sentences."""

import random

import rouge_score
import sacrebleu
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from fixture import number, write_fixture

WORDS = "the cat sat on a mat, and then it ran (quickly) to 3.5 houses; 1,000 mice - well-known ones! - said: no . Twice".split(" ")
HAND_MADE = [
    ("the cat sat on the mat.", ["the cat sat on the mat."]),
    ("The Cat sat on Mat", ["the cat sat on the mat."]),
    ("", ["nothing was said"]),
    ("a", ["a"]),
    ("It costs $3.50, or 1,000 yen - not 5-6.", ["It costs $3.50 or 1,000 yen, not 5-6."]),
    ("&quot;Tom &amp; Jerry&quot; &lt;b&gt; <skipped>end", ['"Tom & Jerry" <b> end']),
    ("A well-\nknown line.\nSecond line here. ", ["A wellknown line.\nSecond, longer line here.\n"]),
    ("Zürich’s “alte” Straße, naïve café…", ["Zürichs alte Strasse: naïve café"]),
    ("今日は良い天気です。", ["今日はとても良い天気。"]),
    ("good 👍🏽 day 🌞", ["a good day 🌞!"]),
    ("odd\u00a0space\u2003and\u001cseparators\u0085here\ufeff", ["odd space and separators here"]),
    ("(hi) 'tis \"quoted\" [x] - .", ["(hi) 'tis \"quoted\" [y] - !"]),
    ("one two three\ntwo three four\nfive", ["two three one\n\nfive four\nthree two"]),
]
SEVERAL = [
    ("the cat is on the mat", ["the cat sat on the mat", "there is a cat on the mat"]),
    ("he said no", ["he said yes", "no, he said", "she said nothing at all"]),
    ("short", ["a much longer text than that", "short one"]),
]
UNLIKE = [("red", ["blue"]), ("sun and rain", ["neither wind"])]
NEARLY = [("red warm day", ["red cold day"]), ("one", ["one two"])]  # no pair or triple in common: smoothing


# Beginnings and endings that together reach every rule of the stemmer, and words with rules of their own.
BEGINNINGS = "a tr hop fil fall agr enjo happ conn rel oper adopt ced y syzyg vil radic hopef sens digit call ow sk tann roll commun logic".split(" ")
ENDINGS = (
    "|s|es|ies|sses|ss|ed|eed|ied|ing|ings|y|ys|ational|tional|enci|anci|izer|bli|ably|alli|ally|ently|eli|ously|ization|ation|ator|alism|iveness|fulness|"
    "ousness|aliti|iviti|biliti|fully|logy|icate|ative|alize|iciti|ical|ful|ness|al|ance|ence|er|ic|able|ible|ant|ement|ment|ent|ion|sion|tion|ou|ism|ate|iti|"
    "ous|ive|ize|e|ee|ll|lle|ated|bling|izing|pped|lling|ssed|zzed|wed|xing|yed"
).split("|")
OWN_RULES = "sky skies dying lying tying news inning innings outing outings canning cannings howe proceed exceed succeed dies died tied spied always ages aged".split(" ")
STEMMED = [
    ("The cats were running happily", ["the cat runs happy"]),
    ("Always enjoying skies\nand dying flies", ["always enjoyed the sky\na fly died"]),
    ("generalizations of relational hopefulness", ["generalized relations were hopeful", "general hopes"]),
]


def edited(seed, n=24):
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        actual = [rng.choice(WORDS) for _ in range(rng.randrange(1, 18))]
        said = [rng.choice(WORDS) if rng.random() < 0.3 else word for word in actual if rng.random() < 0.9]
        breaks = lambda words: "".join(word + ("\n" if rng.random() < 0.15 else " ") for word in words).strip()
        rows.append((breaks(said), [breaks(actual)]))
    return rows


def stemmed(rows):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    scores = [scorer.score_multi(right, one) for one, right in rows]
    kinds = [("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL"), ("rouge-lsum", "rougeLsum")]
    return {label: number(sum(score[kind].fmeasure for score in scores) / len(scores)) for label, kind in kinds}


def case(name, rows):
    said = [one for one, _ in rows]
    # sacrebleu wants as many streams as the longest list has references; None where a text has fewer.
    most = max(len(right) for _, right in rows)
    streams = [[right[k] if k < len(right) else None for _, right in rows] for k in range(most)]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
    scores = [scorer.score_multi(right, one) for one, right in rows]
    mean = lambda kind: number(sum(score[kind].fmeasure for score in scores) / len(scores))
    return {
        "name": name,
        "predicted": said,
        "actual": [right for _, right in rows],
        "metrics": {
            "exact-match": number(sum(one in right for one, right in rows) / len(rows)),
            **{label: mean(kind) for label, kind in [("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL"), ("rouge-lsum", "rougeLsum")]},
            "bleu": number(BLEU().corpus_score(said, streams).score / 100),
            "chrf": number(CHRF().corpus_score(said, streams).score / 100),
            "chrf-plus-plus": number(CHRF(word_order=2).corpus_score(said, streams).score / 100),
        },
    }


def main():
    # Each hand-made text alone too, so that no mistake hides behind the others.
    alone = [case(f"hand-made {i}", [row]) for i, row in enumerate(HAND_MADE)]
    cases = [
        case("hand-made", HAND_MADE),
        *alone,
        case("several references", SEVERAL),
        case("nothing in common", UNLIKE),
        case("smoothed", NEARLY),
        case("edited 1", edited(1)),
        case("edited 2", edited(2)),
    ]
    words = sorted({beginning + ending for beginning in BEGINNINGS for ending in ENDINGS} | set(OWN_RULES))
    write_fixture(
        "text-metrics/stemmer.json",
        "NLTK's PorterStemmer as rouge-score uses it, and rouge-score with use_stemmer",
        {
            "rougeScore": "0.1.2",
            "stems": {word: PorterStemmer().stem(word) for word in words},
            "cases": [{"predicted": [said for said, _ in rows], "actual": [right for _, right in rows], "metrics": stemmed(rows)} for rows in [STEMMED, edited(3)]],
        },
    )
    write_fixture(
        "text-metrics/metrics.json",
        "sacrebleu's BLEU and CHRF with their defaults (CHRF also with word_order 2), divided by 100; rouge-score without stemmer, the mean of the F-measures, the best reference of several",
        {"sacrebleu": sacrebleu.__version__, "rougeScore": "0.1.2", "cases": cases},
    )


if __name__ == "__main__":
    main()
