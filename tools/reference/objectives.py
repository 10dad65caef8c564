"""Cross-entropy with label smoothing and masked labels: value and gradient."""

import torch
from transformers.trainer_pt_utils import LabelSmoother

from fixture import number, numbers, write_fixture

IGNORED = -100
RECIPE = (
    "float32; labels already shifted, -100 is not supervised; loss = (1 - e) * mean(-log p[label]) + e * mean over tokens of mean over the "
    "vocabulary (label included) of -log p; torch.nn.functional.cross_entropy(label_smoothing=e) and transformers' LabelSmoother(epsilon=e) agree "
    "to 1e-6, the value here is torch's"
)


def smoothed_loss(logits, labels, epsilon):
    leaf = logits.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(leaf, labels, ignore_index=IGNORED, label_smoothing=epsilon)
    loss.backward()
    other = LabelSmoother(epsilon=epsilon)({"logits": logits[None]}, labels[None])
    torch.testing.assert_close(other, loss.detach(), atol=1e-6, rtol=1e-6)
    return {"labelSmoothing": epsilon, "loss": number(loss.item()), "logitsGradient": numbers(leaf.grad)}


def main():
    generator = torch.Generator().manual_seed(400)
    logits = torch.tensor(numbers(2 * torch.randn(6, 11, generator=generator), 4))
    labels = torch.tensor([3, 0, IGNORED, 10, 5, IGNORED])
    cases = [smoothed_loss(logits, labels, epsilon) for epsilon in (0.0, 0.1, 0.3)]
    write_fixture("objectives/label-smoothing.json", RECIPE, {"logits": numbers(logits), "labels": labels.tolist(), "cases": cases})


if __name__ == "__main__":
    main()
