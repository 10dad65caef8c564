"""What both interop scripts print: the loss on given tokens and the first logits of every position, as one JSON line."""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

IGNORED = -100


def argument_parser(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input-ids", required=True, metavar="JSON|@FILE", help="rows of equal length, for example [[1,5,9]]")
    parser.add_argument("--labels", metavar="JSON|@FILE", help="same shape, -100 is not supervised; the input ids by default")
    parser.add_argument("--logits", type=int, default=8, metavar="N", help="how many logits of each position to print; 0 prints all")
    parser.add_argument("--new-tokens", type=int, default=0, metavar="N", help="also continue the first row greedily by N tokens")
    return parser


def read_tokens(text):
    return torch.tensor(json.loads(Path(text[1:]).read_text() if text.startswith("@") else text))


def load_strictly(cls, folder):
    """Fails where a weight is missing, unknown or of another shape."""
    model, info = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    problems = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(key)}
    if problems:
        raise SystemExit(f"{folder}: {problems}")
    return model.eval()


def load_base(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def load_nf4_base(folder):
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32
    )
    options = dict(dtype=torch.float32, attn_implementation="eager", device_map="cpu")
    return transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, **options)


def print_report(model, arguments, details):
    input_ids = read_tokens(arguments.input_ids)
    labels = read_tokens(arguments.labels) if arguments.labels else input_ids
    with torch.set_grad_enabled(model.training):  # without gradients bitsandbytes takes its other way
        output = model(input_ids=input_ids, labels=labels)
    report = {
        **details,
        "loss": output.loss.item(),
        "targets": int((labels[:, 1:] != IGNORED).sum()),
        "logits": output.logits[..., : arguments.logits or None].tolist(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }
    if arguments.new_tokens:
        report["generated"] = greedy(model, input_ids[:1], arguments.new_tokens)
    print(json.dumps(report))


def greedy(model, prompt, new_tokens):
    mask = torch.ones_like(prompt)
    output = model.generate(input_ids=prompt, attention_mask=mask, do_sample=False, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0)
    return output[0, prompt.shape[1] :].tolist()
