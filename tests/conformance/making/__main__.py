"""Makes the named fixtures of tests/conformance, or all of them."""

from __future__ import annotations

import argparse
from importlib import import_module

EXAMPLES = """examples:
  python -m tests.conformance.making            makes every fixture
  python -m tests.conformance.making vit ast    makes these two
"""
MODULES = (
    "text_classes",
    "sentences",
    "sentence_graphs",
    "tokenizer_classes",
    "vision",
    "audio",
    "pairs",
    "clap",
    "odd",
)


def main() -> None:
    """Runs the makers that were named: the functions in MAKERS of each module."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.making",
        description=f"{__doc__} It needs torch, torchvision, transformers and sentence-transformers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    makers = {name: maker for each in MODULES for name, maker in import_module(f"{__package__}.{each}").MAKERS.items()}
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(makers)}")
    names = parser.parse_args().name or list(makers)
    unknown = [name for name in names if name not in makers]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(makers)}")
    for name in names:
        makers[name]()
        print(f"made {name}", flush=True)


if __name__ == "__main__":
    main()
