"""Divergences between teacher and student distributions: value and gradient with respect to the student's logits.

TRL's GKDTrainer writes the same three as one "generalised Jensen-Shannon divergence" (beta 0, 1 and between); here they are torch's kl_div,
summed over the vocabulary and averaged over the tokens.
"""

import torch
import torch.nn.functional as F

from fixture import number, numbers, write_fixture

RECIPE = (
    "float32; P teacher, Q student, both softmax(logits / temperature); mean over tokens of forward KL(P|Q), reverse KL(Q|P), or "
    "b KL(P|M) + (1 - b) KL(Q|M) with M = b P + (1 - b) Q; times temperature^2; torch.nn.functional.kl_div(log_target=True); "
    "topCases in float64: forward KL over the teacher's topK likeliest tokens and the mass of all others"
)


def divergence(student, teacher, kind, mixture):
    q, p = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    kl = lambda a, b: F.kl_div(b, a, log_target=True, reduction="none").sum(-1)
    if kind == "forward-kl":
        return kl(p, q)
    if kind == "reverse-kl":
        return kl(q, p)
    m = torch.logsumexp(torch.stack([p + torch.tensor(mixture).log(), q + torch.tensor(1 - mixture).log()]), 0)
    return mixture * kl(p, m) + (1 - mixture) * kl(q, m)


def case(student, teacher, kind, temperature, mixture=0.5):
    leaf = student.clone().requires_grad_()
    value = temperature**2 * divergence(leaf / temperature, teacher / temperature, kind, mixture).mean()
    value.backward()
    return {"divergence": kind, "temperature": temperature, "mixture": mixture, "value": number(value.item()), "logitsGradient": numbers(leaf.grad)}


def top_case(student, teacher, k, temperature):
    """Forward KL over the teacher's k likeliest tokens and one outcome for all others."""
    leaf = student.clone().requires_grad_()
    q, p = F.softmax(leaf / temperature, -1), F.softmax(teacher / temperature, -1)
    kept, ids = p.topk(k, -1)
    with_rest = lambda all_mass, top: torch.cat([top, (all_mass.sum(-1, keepdim=True) - top.sum(-1, keepdim=True))], -1) if k < p.shape[-1] else top
    own = with_rest(q, q.gather(-1, ids))
    value = temperature**2 * F.kl_div(own.log(), with_rest(p, kept), reduction="none").sum(-1).mean()
    value.backward()
    return {"topK": k, "temperature": temperature, "value": number(value.item()), "logitsGradient": numbers(leaf.grad)}


def main():
    generator = torch.Generator().manual_seed(410)
    student, teacher = (torch.tensor(numbers(2 * torch.randn(5, 9, generator=generator), 4)) for _ in range(2))
    cases = [
        case(student, teacher, "forward-kl", 1.0),
        case(student, teacher, "forward-kl", 2.0),
        case(student, teacher, "reverse-kl", 1.5),
        case(student, teacher, "jensen-shannon", 1.0),
        case(student, teacher, "jensen-shannon", 2.0, 0.2),
    ]
    top_cases = [top_case(student.double(), teacher.double(), k, t) for k, t in ((1, 1.0), (3, 2.0), (9, 1.5))]
    write_fixture("objectives/distillation.json", RECIPE, {"student": numbers(student), "teacher": numbers(teacher), "cases": cases, "topCases": top_cases})


if __name__ == "__main__":
    main()
