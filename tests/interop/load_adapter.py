"""Loads an adapter folder on its base with Python PEFT. Fails where a tensor of the adapter has no place or a place gets no tensor."""

from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from report import argument_parser, load_base, load_nf4_base, print_report


def check_names(model, folder):
    """PEFT only warns of missing and unknown tensors, so compare the names ourselves."""
    with safe_open(Path(folder) / "adapter_model.safetensors", "pt") as file:
        saved = set(file.keys())
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    filled = {expected[name].data_ptr() for name in saved & expected.keys()}
    # What is tied has several names for one tensor.
    missing = {name for name, tensor in expected.items() if name not in saved and tensor.data_ptr() not in filled}
    if missing or saved - expected.keys():
        raise SystemExit(f"{folder}: PEFT lacks {sorted(missing)} and does not know {sorted(saved - expected.keys())}")
    return len(saved)


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, help="folder of the base checkpoint")
    parser.add_argument("--adapter", required=True, help="folder with adapter_config.json and adapter_model.safetensors")
    parser.add_argument("--merge", action="store_true", help="merge the adapter into the base first")
    parser.add_argument("--nf4", action="store_true", help="hold the base in bitsandbytes' NF4 with double quantisation")
    arguments = parser.parse_args()
    base = load_nf4_base(arguments.base) if arguments.nf4 else load_base(arguments.base)
    model = PeftModel.from_pretrained(base, arguments.adapter).eval()
    if arguments.nf4:
        model.train()  # there is no dropout; in eval mode bitsandbytes computes in bfloat16 on processors that have it
    tensors = check_names(model, arguments.adapter)
    print_report(model.merge_and_unload() if arguments.merge else model, arguments, {"adapterTensors": tensors})


if __name__ == "__main__":
    main()
