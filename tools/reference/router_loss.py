"""Loss of a mixture of experts with the routers' loss beside it: value, gradients and one AdamW step, by transformers."""

import torch
import transformers

from families import OPTIMIZER, VOCAB, adamw, named_as_in_file
from fixture import ROOT, number, random_tokens, summaries, write_fixture

RECIPE = (
    "the checkpoints of families/, float32, eager attention, eval mode, output_router_logits; two documents of different length, padded on the right and "
    "masked; loss is the mean cross-entropy plus router_aux_loss_coef times aux_loss; gradients of that loss; then one torch.optim.AdamW step as in families.py"
)
# name of the checkpoint: weight of the routers' loss. Large, so that it shows beside the other.
CASES = {"mixtral": 0.5, "qwen3_moe": 0.7, "qwen3_moe-shares": 0.4}
LENGTHS = [7, 12]


def write_case(name, coef, seed):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        ROOT / "families" / name, attn_implementation="eager", router_aux_loss_coef=coef, output_router_logits=True
    ).eval()
    input_ids = random_tokens((2, max(LENGTHS)), VOCAB, seed)
    mask = torch.tensor([[1] * n + [0] * (max(LENGTHS) - n) for n in LENGTHS])
    inputs = dict(input_ids=input_ids * mask, attention_mask=mask, labels=input_ids.masked_fill(mask == 0, -100), use_cache=False)
    output = model(**inputs)
    output.loss.backward()
    content = {
        "inputIds": [row[:n].tolist() for row, n in zip(input_ids, LENGTHS)],
        "coef": coef,
        "loss": number(output.loss.item()),
        "auxLoss": number(output.aux_loss.item()),
        "gradients": summaries(named_as_in_file(model, of=lambda parameter: parameter.grad)),
        "optimizer": OPTIMIZER,
    }
    adamw(model).step()
    with torch.no_grad():
        after = model(**inputs)
    after = {"lossAfterStep": number(after.loss.item()), "auxLossAfterStep": number(after.aux_loss.item())}
    write_fixture(f"router-loss/{name}.json", f"seed {seed}; {RECIPE}", {**content, **after})


def main():
    for index, (name, coef) in enumerate(CASES.items()):
        write_case(name, coef, seed=1500 + index)


if __name__ == "__main__":
    main()
