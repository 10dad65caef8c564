"""Loads an adapter folder on its base with Python PEFT. Fails where a tensor of the adapter has no place or a place gets no tensor."""

from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from report import argument_parser, load_base, print_report


def check_names(model, folder):
    """PEFT only warns of missing and unknown tensors, so compare the names ourselves."""
    with safe_open(Path(folder) / "adapter_model.safetensors", "pt") as file:
        saved = set(file.keys())
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if saved != expected:
        raise SystemExit(f"{folder}: PEFT lacks {sorted(expected - saved)} and does not know {sorted(saved - expected)}")
    return len(saved)


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, help="folder of the base checkpoint")
    parser.add_argument("--adapter", required=True, help="folder with adapter_config.json and adapter_model.safetensors")
    parser.add_argument("--merge", action="store_true", help="merge the adapter into the base first")
    arguments = parser.parse_args()
    model = PeftModel.from_pretrained(load_base(arguments.base), arguments.adapter).eval()
    tensors = check_names(model, arguments.adapter)
    print_report(model.merge_and_unload() if arguments.merge else model, arguments, {"adapterTensors": tensors})


if __name__ == "__main__":
    main()
