"""The loss of a mixture's routers (load_balancing_loss_func): documents of different length in rows padded at the end, with the attention mask.

Reads the checkpoints of families.py. A packed batch of the same documents has the same numbers: attention stays inside each, and the loss of the
routers sums over all tokens that the mask leaves."""

import torch
from transformers import AutoModelForCausalLM

from families import OPTIMIZER, VOCAB, adamw, named_as_in_file
from fixture import ROOT, number, random_tokens, summaries, write_fixture

# family folder: weight of the loss, far above the usual 0.001, so that its gradient is seen
CASES = {"mixtral": 0.5, "qwen3_moe": 0.3, "qwen3_moe-shares": 0.7}
LENGTHS = [12, 5, 7]
RECIPE = (
    "documents of 12, 5 and 7 tokens in rows padded at the end with token 0, attention_mask 0 and labels -100 there; eager attention, eval mode, "
    "output_router_logits with router_aux_loss_coef = coefficient. loss is transformers' loss: the mean cross-entropy plus coefficient * auxLoss; "
    "one torch.optim.AdamW step on its gradients as in families. accumulated: documents 0 and 1 in one micro-batch, document 2 in another, each with "
    "its whole loss (routers included) times its share of the targets; gradients of the sum"
)


def rows(documents):
    width = max(len(d) for d in documents)
    mask = torch.tensor([[int(t < len(d)) for t in range(width)] for d in documents])
    input_ids = torch.stack([torch.nn.functional.pad(d, (0, width - len(d))) for d in documents])
    return dict(input_ids=input_ids, attention_mask=mask, labels=input_ids.masked_fill(mask == 0, -100), use_cache=False, output_router_logits=True)


def open_model(family, coefficient):
    model = AutoModelForCausalLM.from_pretrained(ROOT / "families" / family, attn_implementation="eager").eval()
    model.router_aux_loss_coef = coefficient
    return model


def gradients(model):
    return summaries(named_as_in_file(model, of=lambda parameter: parameter.grad))


def accumulated(family, coefficient, documents):
    model = open_model(family, coefficient)
    targets = sum(len(d) - 1 for d in documents)
    losses = []
    for micro in (documents[:2], documents[2:]):
        output = model(**rows(micro))
        losses.append(number(output.aux_loss.item()))
        (output.loss * (sum(len(d) - 1 for d in micro) / targets)).backward()
    return {"auxLosses": losses, "gradients": gradients(model)}


def write_case(family, coefficient, seed):
    documents = [random_tokens((length,), VOCAB, seed + i) for i, length in enumerate(LENGTHS)]
    model = open_model(family, coefficient)
    output = model(**rows(documents))
    output.loss.backward()
    content = {
        "documents": [d.tolist() for d in documents],
        "coefficient": coefficient,
        "loss": number(output.loss.item()),
        "auxLoss": number(output.aux_loss.item()),
        "gradients": gradients(model),
        "optimizer": OPTIMIZER,
    }
    adamw(model).step()
    content["parametersAfterStep"] = summaries(named_as_in_file(model))
    with torch.no_grad():
        content["auxLossAfterStep"] = number(model(**rows(documents)).aux_loss.item())
    content["accumulated"] = accumulated(family, coefficient, documents)
    write_fixture(f"router-loss/{family}/reference.json", f"seed {seed}; {RECIPE}", content)


def main():
    for index, (family, coefficient) in enumerate(CASES.items()):
        write_case(family, coefficient, seed=900 + 10 * index)


if __name__ == "__main__":
    main()
