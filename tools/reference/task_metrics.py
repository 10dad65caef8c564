"""Metrics of tasks by scikit-learn, scipy, seqeval and SQuAD's own rules (as in transformers), on random and hand-made predictions."""

import random
import warnings

import scipy
import scipy.stats
import seqeval.metrics
import sklearn
import sklearn.metrics as sk
from transformers.data.metrics.squad_metrics import compute_exact, compute_f1

from fixture import number, write_fixture

warnings.filterwarnings("ignore")
TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-PER"]
ANSWERS = [
    ("the Eiffel Tower", ["Eiffel Tower", "The tower"]),
    ("in 1889", ["1889"]),
    ("", []),
    ("Paris", []),
    ("", ["London"]),
    ("a red, red car!", ["red car", "the red red car"]),
    ("New York City", ["york"]),
    ("42", ["forty-two", "42 "]),
    ("of the the", ["of"]),
    ("Zürich’s lake", ["zürich’s Lake"]),
]


def classes(seed, labels, n=40):
    rng = random.Random(seed)
    actual = [rng.randrange(labels) for _ in range(n)]
    predicted = [a if rng.random() < 0.6 else rng.randrange(labels) for a in actual]
    return predicted, actual


def macro(name, actual, predicted, **options):
    return number(getattr(sk, name)(actual, predicted, average="macro", zero_division=0, **options))


def class_case(seed, labels, n=40):
    predicted, actual = classes(seed, labels, n)
    values = {
        "accuracy": number(sk.accuracy_score(actual, predicted)),
        "precision": macro("precision_score", actual, predicted),
        "recall": macro("recall_score", actual, predicted),
        "f1": macro("f1_score", actual, predicted),
        "matthews-correlation": number(sk.matthews_corrcoef(actual, predicted)),
    }
    if labels == 2:
        for name in ["precision", "recall", "f1"]:
            values[f"binary-{name}"] = number(getattr(sk, f"{name}_score")(actual, predicted, zero_division=0))
    return {"kind": "classes", "labels": labels, "predicted": predicted, "actual": actual, "metrics": values}


def label_set_case(seed, labels=4, n=30):
    rng = random.Random(seed)
    actual = [[int(rng.random() < 0.4) for _ in range(labels - 1)] + [0] for _ in range(n)]
    predicted = [[flag if rng.random() < 0.7 else 1 - flag for flag in row[:-1]] + [0] for row in actual]
    values = {"accuracy": number(sk.accuracy_score(actual, predicted))}
    for name in ["precision", "recall", "f1"]:
        values[name] = macro(f"{name}_score", actual, predicted)
        values[f"micro-{name}"] = number(getattr(sk, f"{name}_score")(actual, predicted, average="micro", zero_division=0))
    return {"kind": "label-sets", "labels": labels, "predicted": predicted, "actual": actual, "metrics": values}


def number_case(seed, n=25):
    rng = random.Random(seed)
    actual = [round(rng.gauss(0, 1), 1) for _ in range(n)]  # one digit, so that there are ties
    predicted = [round(a + rng.gauss(0, 0.8), 1) for a in actual]
    values = {"pearson": number(scipy.stats.pearsonr(predicted, actual)[0]), "spearman": number(scipy.stats.spearmanr(predicted, actual)[0])}
    return {"kind": "numbers", "predicted": [[p] for p in predicted], "actual": [[a] for a in actual], "metrics": values}


def tag_case(seed, n=30):
    rng = random.Random(seed)
    actual = [[rng.choice(TAGS) for _ in range(rng.randrange(1, 12))] for _ in range(n)]
    predicted = [[tag if rng.random() < 0.75 else rng.choice(TAGS) for tag in row] for row in actual]
    values = {
        "entity-precision": number(seqeval.metrics.precision_score(actual, predicted)),
        "entity-recall": number(seqeval.metrics.recall_score(actual, predicted)),
        "entity-f1": number(seqeval.metrics.f1_score(actual, predicted)),
        "tag-accuracy": number(seqeval.metrics.accuracy_score(actual, predicted)),
    }
    return {"kind": "tags", "predicted": predicted, "actual": actual, "metrics": values}


def answer_case():
    best = lambda compute: sum(max(compute(one, said) for one in (right or [""])) for said, right in ANSWERS) / len(ANSWERS)
    return {
        "kind": "answers",
        "predicted": [said for said, _ in ANSWERS],
        "actual": [right for _, right in ANSWERS],
        "metrics": {"exact-match": number(best(compute_exact)), "answer-f1": number(best(compute_f1))},
    }


def rank_case(seed, n=40):
    """Similarities of queries to documents, of which the i-th belongs to the i-th; scikit-learn ranks them."""
    rng = random.Random(seed)
    rows = [[round(rng.gauss(0.8 if i == j else 0, 0.5), 4) for j in range(n)] for i in range(n)]
    wanted = [[int(i == j) for j in range(n)] for i in range(n)]
    hits = lambda k: number(sk.top_k_accuracy_score(list(range(n)), rows, k=k, labels=list(range(n))))
    values = {f"recall-at-{k}": hits(k) for k in [1, 5, 10]}
    # With one relevant document, its reciprocal rank is the average precision of the ranking.
    values["mean-reciprocal-rank"] = number(sk.label_ranking_average_precision_score(wanted, rows))
    return {"kind": "ranks", "similarities": rows, "metrics": values}


def main():
    cases = [class_case(1, 2), class_case(2, 4), class_case(3, 6, n=8), label_set_case(4), number_case(5), tag_case(6), tag_case(7), answer_case(), rank_case(8)]
    write_fixture(
        "task-metrics/metrics.json",
        "scikit-learn, scipy, seqeval (default mode), compute_exact and compute_f1 of transformers' squad_metrics; random predictions from seeds",
        {"scikitLearn": sklearn.__version__, "scipy": scipy.__version__, "seqeval": "1.2.2", "cases": cases},
    )


if __name__ == "__main__":
    main()
