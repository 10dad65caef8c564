"""Loads an adapter folder on its base with AdapterHub's library. Fails where a tensor of the adapter has no place or a place gets no tensor."""

import adapters

from report import argument_parser, load_base, print_report


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, help="folder of the base checkpoint")
    parser.add_argument("--adapter", required=True, help="folder with adapter_config.json and adapter.safetensors")
    arguments = parser.parse_args()
    model = load_base(arguments.base)
    adapters.init(model)
    info = {}
    name = model.load_adapter(arguments.adapter, use_safetensors=True, with_head=False, loading_info=info)
    problems = {key: info[key] for key in ("missing_keys", "unexpected_keys") if info.get(key)}
    if problems:
        raise SystemExit(f"{arguments.adapter}: {problems}")
    model.set_active_adapters(name)
    print_report(model.eval(), arguments, {"adapter": name})


if __name__ == "__main__":
    main()
