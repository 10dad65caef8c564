"""Losses of many models in one process: folders of transformers, and adapters on their bases with PEFT. Reads a JSON file with a list of
jobs { model, inputs, adapter?, noisy?, head? }; prints a list of { loss, noisyLoss? } or { error } as one JSON line. With `noisy` the adapter is
changed, its loss computed, and PEFT saves it in that folder. `head` is the class whose head the model's folder lacks."""

import json
import sys
from pathlib import Path

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from load_adapter import check_names
from report import load_strictly

# PEFT 0.21 keeps a reference to this method of generation, which transformers 5 renamed; nothing here generates.
transformers.GenerationMixin._prepare_encoder_decoder_kwargs_for_generation = None

VOCABULARY = (".decoder.weight", ".vocab_projector.weight")


def loss_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).loss.item()


def run(model, inputs, adapter=None, noisy=None, head=None):
    config = json.loads((Path(model) / "config.json").read_text())
    if head:
        loaded = getattr(transformers, head).from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()
    else:
        loaded = load_strictly(getattr(transformers, config["architectures"][0]), model)
    inputs = {name: torch.tensor(rows) for name, rows in inputs.items()}
    if adapter is None:
        return {"loss": loss_of(loaded, inputs)}
    tuned = PeftModel.from_pretrained(loaded, adapter).eval()
    check_names(tuned, adapter)
    result = {"loss": loss_of(tuned, inputs)}
    if noisy:
        add_noise(tuned)
        result["noisyLoss"] = loss_of(tuned, inputs)
        tuned.save_pretrained(noisy, save_embedding_layers=False)
    return result


def add_noise(model):
    generator = torch.Generator().manual_seed(0)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    noise = {name: torch.randn(value.shape, generator=generator) for name, value in state.items()}
    # The matrix of a head for words stays that of the embeddings, which PEFT would train apart.
    changed = {name: value if name.endswith(VOCABULARY) else value + 0.1 * noise[name] for name, value in state.items()}
    set_peft_model_state_dict(model, changed)


def attempt(job):
    try:
        return run(**job)
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    jobs = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps([attempt(job) for job in jobs]))


if __name__ == "__main__":
    main()
