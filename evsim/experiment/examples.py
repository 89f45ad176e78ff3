"""Files that ship with evsim: an example of a network and two comparisons, found by name from any folder."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
"""network.toml (with its spikes), compare_digits.toml, compare_mnist.toml."""


def find_file(name: str) -> Path:
    """The file of that name; where there is none, the example of that name: ``network``, ``compare_digits``.

    The path is returned as it is where neither exists.
    """
    path = Path(name)
    if path.exists() or path.parent != Path():
        return path
    for example in (EXAMPLES / name, EXAMPLES / f"{name}.toml"):
        if example.is_file():
            return example
    return path


def example_names() -> list[str]:
    """Names of the examples in TOML."""
    return sorted(path.stem for path in EXAMPLES.glob("*.toml"))
