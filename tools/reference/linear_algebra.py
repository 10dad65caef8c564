"""QR and singular values of small float64 matrices: tall, wide, square, of low rank, and with singular values over many sizes."""

import torch

from fixture import numbers, write_fixture

DIGITS = 15
RECIPE = "float64; torch.linalg.qr(mode='reduced') and torch.linalg.svd(full_matrices=False); firstTwo is the sum of the first two rank-one terms"


def matrices():
    generator = torch.Generator().manual_seed(600)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    orthogonal = lambda size: torch.linalg.qr(normal(size, size)).Q
    return {
        "tall": normal(7, 4),
        "wide": normal(3, 6),
        "square": normal(5, 5),
        "low-rank": normal(6, 2) @ normal(2, 5),
        "graded": orthogonal(6) @ torch.diag(10.0 ** -torch.arange(0, 12, 2, dtype=torch.float64)) @ orthogonal(6),
        "zeros": torch.zeros(3, 2, dtype=torch.float64),
        "row": normal(1, 4),
    }


def case(matrix):
    matrix = torch.tensor(numbers(matrix, DIGITS), dtype=torch.float64)
    q, r = torch.linalg.qr(matrix)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return {
        "matrix": numbers(matrix, DIGITS),
        "q": numbers(q, DIGITS),
        "r": numbers(r, DIGITS),
        "s": numbers(s, DIGITS),
        "firstTwo": numbers(u[:, :2] @ torch.diag(s[:2]) @ vh[:2], DIGITS),
    }


def main():
    write_fixture("linear-algebra/svd.json", RECIPE, {"cases": {name: case(matrix) for name, matrix in matrices().items()}})


if __name__ == "__main__":
    main()
