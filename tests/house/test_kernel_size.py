"""Kernels stay readable: few arguments, grouped by what they belong to, and functions that fit a screen.

Read from the syntax tree of every kernel source; nothing is compiled.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from helpers.paths import ROOT

MOST_ARGUMENTS, MOST_LINES = 12, 60
"""Positional arguments of a kernel, and lines of code in its body: docstring, comments and empty lines apart."""

EXCEPTIONS = {
    "evsim/_kernels/sweep/groups.py": {
        "advance_one": "unrolled by hand: a loop over the group would be several times slower",
        "advance_two": "unrolled by hand, as advance_one",
    },
    "evsim/_kernels/window/block.py": {
        "run_block": "the window engine is not yet on tuples throughout",
        "flow_driven": "the window engine is not yet on tuples throughout",
    },
    "evsim/_kernels/window/calendar.py": {"add_chunk": "the window engine is not yet on tuples throughout"},
    "evsim/_kernels/window/inputs.py": {
        "add_bundle": "the window engine is not yet on tuples throughout",
        "list_bundle": "the window engine is not yet on tuples throughout",
        "add_inputs": "the window engine is not yet on tuples throughout",
        "list_inputs": "the window engine is not yet on tuples throughout",
    },
    "evsim/_kernels/window/windows.py": {"run_windows": "the window engine is not yet on tuples throughout"},
}
"""File -> function -> why it may be larger. One that is no longer larger has to leave the list."""


def _size(function: ast.FunctionDef, lines: list[str]) -> tuple[int, int]:
    """Positional arguments, and lines of code in the body."""
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
    begin = first.end_lineno + 1 if has_docstring else first.lineno
    body = [line.strip() for line in lines[begin - 1 : function.end_lineno]]
    arguments = len(function.args.posonlyargs) + len(function.args.args)
    return arguments, sum(1 for line in body if line and not line.startswith("#"))


def _too_large(path: Path) -> dict[str, tuple[int, int]]:
    text = path.read_text(encoding="utf-8")
    sizes = {
        node.name: _size(node, text.splitlines())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }
    return {name: s for name, s in sizes.items() if s[0] > MOST_ARGUMENTS or s[1] > MOST_LINES}


FILES = sorted(p for folder in ("evsim", "learning") for p in (ROOT / folder / "_kernels").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_kernel_has_few_arguments_and_fits_a_screen(path):
    excepted = EXCEPTIONS.get(path.relative_to(ROOT).as_posix(), {})
    larger = _too_large(path)
    assert set(larger) == set(excepted), f"(arguments, lines) of the larger ones: {larger}"


def test_every_file_with_exceptions_is_a_kernel_source():
    assert set(EXCEPTIONS) <= {p.relative_to(ROOT).as_posix() for p in FILES}


def test_the_size_of_a_function_is_read_from_its_source():
    body = ['    """Two', '    lines."""', "", "    # why", "    x = (", "        a", "    )", "    return x"]
    text = "\n".join(["def f(a, b, /, c, *, d=1):", *body])
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _size(function, text.splitlines()) == (3, 4)
