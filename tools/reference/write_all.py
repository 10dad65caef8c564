"""Writes every fixture under tests/conformance/reference again: each script of this folder that has a main().

Families come first, since other scripts read their weights.
"""

from importlib import import_module
from pathlib import Path

from fixture import versions

if __name__ == "__main__":
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    for name in sorted(names, key=lambda name: name != "families"):
        area = import_module(name) if name != "write_all" else None
        if hasattr(area, "main"):
            area.main()
            print(f"{name}: written")
    print(versions())
