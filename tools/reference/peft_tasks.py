"""Methods of PEFT on an encoder with a head for labels (SEQ_CLS) and on an encoder-decoder (SEQ_2_SEQ_LM)."""

import json
import shutil

import torch
import transformers
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, VeraConfig, get_peft_model

from fixture import ROOT, number, summaries, write_fixture
from lora import OPTIMIZER

RECIPE = (
    "adapter/ is saved by PEFT with every trained parameter moved by a normal of deviation 0.2; the base and the batch are those of {base}/reference.json; "
    "eval mode; gradients of the loss; lossBeforeStep[i] is the loss before AdamW step i+1 without decay"
)
STEPS = 4
# PEFT 0.21 keeps a reference to this method of generation, which transformers 5 renamed; nothing here generates.
transformers.GenerationMixin._prepare_encoder_decoder_kwargs_for_generation = None
BERT, T5, BART = "label-heads/bert-single", "encoder-decoders/t5", "encoder-decoders/bart"

# name: (base, config)
CASES = {
    "bert-lora": (BERT, LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=8, target_modules=["query", "value"])),
    "bert-dora": (BERT, LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=["query", "output.dense"], use_dora=True)),
    "bert-ia3": (BERT, IA3Config(task_type="SEQ_CLS", target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"])),
    "bert-prompt-tuning": (BERT, PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)),
    "bert-prefix-tuning": (BERT, PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)),
    "t5-lora": (T5, LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, lora_alpha=8, target_modules=["q", "v", "wo"])),
    "t5-vera": (T5, VeraConfig(task_type="SEQ_2_SEQ_LM", r=4, target_modules=["q", "v"])),
    "t5-ia3": (T5, IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=["k", "v", "wo"], feedforward_modules=["wo"])),
    "t5-prompt-tuning": (T5, PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)),
    "t5-p-tuning": (T5, PromptEncoderConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, encoder_hidden_size=16)),
    # Left alone, PEFT counts the layers of the encoder, and takes the width of the model for that of the keys.
    "t5-prefix-tuning": (T5, PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, num_layers=3, token_dim=18)),
    "bart-prefix-tuning": (BART, PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)),
}


def load_base(base):
    config = json.loads((ROOT / base / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    return cls.from_pretrained(ROOT / base, attn_implementation="eager")


def padded(rows, value):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def batch_of(base):
    reference = json.loads((ROOT / base / "reference.json").read_text())
    if base != BERT:
        masks = padded([[1] * len(row) for row in reference["sourceIds"]], 0)
        return dict(input_ids=padded(reference["sourceIds"], 0), attention_mask=masks, labels=padded(reference["labels"], -100))
    input_ids = padded(reference["inputIds"], 0)
    return dict(input_ids=input_ids, attention_mask=(input_ids != 0).long(), labels=torch.tensor(reference["labels"]))


def trained(model):
    return [(name.replace(".default", ""), p) for name, p in model.named_parameters() if p.requires_grad]


def write_case(name, seed):
    base, config = CASES[name]
    folder = ROOT / "peft-tasks" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = get_peft_model(load_base(base), config).eval()
    model.peft_config["default"].base_model_name_or_path = f"../../../{base}"
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trained(model):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    (folder / "adapter" / "README.md").unlink()
    inputs = batch_of(base)
    parameters = [p for _, p in trained(model)]
    optimizer = torch.optim.AdamW(parameters, lr=OPTIMIZER["learningRate"], eps=OPTIMIZER["epsilon"], betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]), weight_decay=0.0)
    losses, gradients = [], None
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        # Some are summed over rows that hold no token: their gradient is none.
        gradients = gradients or summaries((n, p.grad) for n, p in trained(model) if p.grad is not None)
        optimizer.step()
        losses.append(number(loss.item()))
    content = {"base": base, "loss": losses[0], "gradients": gradients, "optimizer": OPTIMIZER, "lossBeforeStep": losses}
    write_fixture(f"peft-tasks/{name}/reference.json", f"seed {seed}; {RECIPE.format(base=base)}", content)


def main():
    for index, name in enumerate(CASES):
        write_case(name, seed=1000 + index)


if __name__ == "__main__":
    main()
