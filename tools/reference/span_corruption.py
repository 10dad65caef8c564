"""Span corruption of T5 as arrays: a mask of hidden tokens, sentinels counted by its edges, everything else filtered out.

An implementation of its own, with numpy: it shares no step with ours, which walks over the spans. Random numbers differ, so that
the span lengths that numpy draws are written down, and what becomes of them.
"""

import numpy as np

from fixture import write_fixture

SETTINGS = [(0.15, 3.0), (0.5, 3.0), (0.15, 1.0), (0.3, 10.0)]
SENTINELS, EOS = 100, 1
VOCABULARY = 32100  # T5's: <extra_id_0> is the last id


def counts(length, density, mean):
    hidden = min(max(int(np.round(length * density)), 1), length - 1)
    spans = max(int(np.round(hidden / mean)), 1)
    return hidden, min(spans, length - hidden)


def segments(total, parts, rng):
    edges = np.arange(total - 1) < parts - 1
    rng.shuffle(edges)
    return np.bincount(np.cumsum(np.concatenate([[0], edges])))


def replaced(ids, mask):
    """Every run of masked tokens becomes one sentinel, in descending ids."""
    first = mask & ~np.concatenate([[False], mask[:-1]])
    sentinel = VOCABULARY - np.cumsum(first)
    return np.concatenate([np.where(first, sentinel, ids)[first | ~mask], [EOS]])


def case(seed, length, density, mean):
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, VOCABULARY - SENTINELS, length)
    hidden, spans = counts(length, density, mean)
    lengths = {"hidden": segments(hidden, spans, rng), "kept": segments(length - hidden, spans, rng)}
    pairs = np.stack([lengths["kept"], lengths["hidden"]], axis=1).reshape(-1)
    mask = np.repeat(np.arange(2 * spans) % 2 == 1, pairs)
    return {
        "ids": ids.tolist(),
        "lengths": {name: values.tolist() for name, values in lengths.items()},
        "source": replaced(ids, mask).tolist(),
        "target": replaced(ids, ~mask).tolist(),
    }


def longest(maximum, density, mean):
    """The longest text whose source, one sentinel for each span and the end included, is not above the maximum."""
    fits = lambda length: length - counts(length, density, mean)[0] + counts(length, density, mean)[1] + 1 <= maximum
    length = 2
    while fits(length + 1):
        length += 1
    return length


def main():
    lengths = [2, 3, 4, 5, 9, 10, 17, 30, 50, 114, 128, 333, 512, 568]
    table = [
        {
            "noiseDensity": density,
            "meanNoiseSpanLength": mean,
            "counts": [[length, *counts(length, density, mean)] for length in lengths],
            "longest": [[maximum, longest(maximum, density, mean)] for maximum in [8, 32, 128, 512]],
        }
        for density, mean in SETTINGS
    ]
    cases = [case(seed, length, *SETTINGS[seed % len(SETTINGS)]) for seed, length in enumerate([2, 5, 12, 40, 96, 60, 20, 33])]
    content = {"numpy": np.__version__, "vocabulary": VOCABULARY, "eos": EOS, "table": table, "cases": cases}
    write_fixture("span-corruption/spans.json", "T5's span corruption over arrays, with numpy", content)


if __name__ == "__main__":
    main()
