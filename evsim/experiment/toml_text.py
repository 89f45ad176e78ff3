"""Write plain values as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any


def comparison_text(
    comment: str, seeds: list[int], agreement: int, common: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]
) -> str:
    """A file for ``evsim compare``. comment : of any number of lines; entries : its tables [[run]]"""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"seeds = {toml_value(seeds)}", f"agreement = {agreement}"]
    for title, table in [("[common]", common), *(("[[run]]", entry) for entry in entries)]:
        lines += ["", title, *(f"{_key(name)} = {toml_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A number, text, truth value, list or table in one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(v) for v in value)}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for a character that TOML alone wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)
