"""Loads a merged Hugging Face folder with transformers. Fails where a weight is missing, unknown or of another shape."""

from transformers import AutoModelForCausalLM

from report import argument_parser, load_strictly, print_report


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="folder with config.json and model.safetensors")
    arguments = parser.parse_args()
    model = load_strictly(AutoModelForCausalLM, arguments.model)
    print_report(model, arguments, {"parameters": model.num_parameters()})


if __name__ == "__main__":
    main()
