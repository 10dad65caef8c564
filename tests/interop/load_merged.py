"""Loads a merged Hugging Face folder with transformers. Fails where a weight is missing, unknown or of another shape."""

import torch
from transformers import AutoModelForCausalLM

from report import argument_parser, print_report


def load_strictly(folder):
    options = dict(dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model, info = AutoModelForCausalLM.from_pretrained(folder, **options)
    problems = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(key)}
    if problems:
        raise SystemExit(f"{folder}: {problems}")
    return model.eval()


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="folder with config.json and model.safetensors")
    arguments = parser.parse_args()
    model = load_strictly(arguments.model)
    print_report(model, arguments, {"parameters": model.num_parameters()})


if __name__ == "__main__":
    main()
