"""Benchmarks are run by hand; that they find what they import and stand in their README is seen here."""

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys

import pytest

from helpers.paths import BENCHMARKS, ROOT

SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))
MODULES = ("common", "drawing", "finished", "launched", "peers_grid", "peers_training")
"""What scripts import; all others are run."""
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def absent(text):
    """Names that a script imports from evsim and that are not there; programs in its string literals too."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "from evsim" in node.value:
            try:
                found += absent(node.value)
            except SyntaxError:
                continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "evsim":
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                inside = hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{name}")
                if not hasattr(module, name) and not inside:
                    found.append(f"{node.module}.{name}")
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_benchmark_finds_what_it_imports(script):
    assert absent(script.read_text()) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_finds_what_it_imports(notebook):
    cells = (cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code")
    lines = (line for cell in cells for line in [*cell["source"], "\n"] if not line.startswith(("%", "!")))
    assert absent("".join(lines)) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_benchmark_stands_in_a_room_and_in_the_readme(script):
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert script.stem in MODULES or script.parent.parent == BENCHMARKS
    assert re.search(rf"`({script.parent.name}/)?{script.name}`", page)
    assert script.stem in MODULES or f"python benchmarks/{script.parent.name}/{script.name}" in script.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.stem not in MODULES], ids=lambda path: path.name)
def test_a_benchmark_says_how_it_is_run_from_any_folder(script, tmp_path):
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage"), done.stderr[-2000:]


def test_a_name_that_is_gone_is_seen_also_in_a_program_within_a_string():
    assert absent("from evsim.cli.train import preset") == ["evsim.cli.train.preset"]
    assert absent('PROGRAM = """\nfrom evsim.cli.train import preset\n"""') == ["evsim.cli.train.preset"]


def test_no_figure_of_memory_leaves_out_what_kernels_allocate():
    """tracemalloc sees Python's allocations and not numba's; resident memory has both."""
    shown = [*SCRIPTS, *NOTEBOOKS]
    assert len(shown) > 20
    assert [p.name for p in shown if "import tracemalloc" in p.read_text(encoding="utf-8")] == []
