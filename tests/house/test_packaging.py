"""The shape of the package: which folders it ships, who imports whom, and how light `import evsim` is.

The import rules are read from the syntax tree of every source file, so an import hidden in a function
counts as well; nothing is executed.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from helpers.paths import ROOT

ROOMS = {"evsim": "evsim", "learning": "evsim.learning", "io": "evsim.io"}
"""Top-level folder -> import name."""


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@dataclass(frozen=True)
class Source:
    """One file of the package, its dotted module name and that of the package it belongs to."""

    path: Path
    module: str
    package: str

    def tree(self) -> ast.Module:
        return _parsed(self.path)

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Import:
    """An imported dotted name, resolved; `from a import b` gives `a.b`."""

    name: str
    relative: bool
    line: int

    def within(self, *packages: str) -> bool:
        return any(self.name == p or self.name.startswith(p + ".") for p in packages)


def _sources() -> list[Source]:
    found = []
    for folder, import_name in ROOMS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            below = path.relative_to(ROOT / folder)
            if folder == "evsim" and below.parts[0] in ("learning", "io"):
                continue  # the links; their files are read where they really stand
            package = ".".join([import_name, *below.parts[:-1]])
            module = package if path.stem == "__init__" else f"{package}.{path.stem}"
            found.append(Source(path, module, package))
    return found


def _resolve(node: ast.AST, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, False, node.lineno)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = parts[: len(parts) - node.level + 1] if node.level else []
        base += node.module.split(".") if node.module else []
        for alias in node.names:
            name = ".".join(base if alias.name == "*" else [*base, alias.name])
            yield Import(name, node.level > 0, node.lineno)


def _imports(tree: ast.Module, package: str) -> list[Import]:
    return [found for node in ast.walk(tree) for found in _resolve(node, package)]


def _imports_on_loading(tree: ast.Module, package: str) -> list[Import]:
    """The imports that run when the module is loaded: not those in functions or under TYPE_CHECKING."""
    found: list[Import] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        found += _resolve(node, package)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
    return found


SOURCES = _sources()
each_source = pytest.mark.parametrize("source", SOURCES, ids=str)


def _of(*packages: str) -> pytest.MarkDecorator:
    chosen = [s for s in SOURCES if any(s.package == p or s.package.startswith(p + ".") for p in packages)]
    return pytest.mark.parametrize("source", chosen, ids=str)


def _offences(source: Source, imports: list[Import]) -> list[str]:
    return [f"{source}:{i.line} imports {i.name}" for i in imports]


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# --- folders ----------------------------------------------------------------------------------------------


def test_packages_in_pyproject_are_the_folders_that_hold_python_files():
    listed = _pyproject()["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted({s.package for s in SOURCES})


def test_package_dir_names_the_top_level_folders():
    assert _pyproject()["tool"]["setuptools"]["package-dir"] == {v: k for k, v in ROOMS.items()}


def test_io_has_no_init_so_that_it_never_shadows_the_standard_io():
    assert not (ROOT / "io" / "__init__.py").exists()
    assert list((ROOT / "io").rglob("*.py")), "io holds no module at all"


@pytest.mark.parametrize("room", ["learning", "io"])
def test_the_links_below_evsim_lead_to_the_top_level_folders(room):
    assert (ROOT / "evsim" / room).resolve() == ROOT / room


def test_the_face_stays_under_forty_lines():
    assert len((ROOT / "evsim" / "__init__.py").read_text(encoding="utf-8").splitlines()) < 40


# --- who imports whom -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "package", "name", "relative"),
    [
        ("import evsim.io.hdf5 as h", "evsim", "evsim.io.hdf5", False),
        ("from evsim import learning", "evsim", "evsim.learning", False),
        ("from evsim.io import hdf5", "evsim.learning", "evsim.io.hdf5", False),
        ("from . import lif", "evsim._kernels", "evsim._kernels.lif", True),
        ("from .lif import flow", "evsim._kernels", "evsim._kernels.lif.flow", True),
        ("from ..types import LIF", "evsim._kernels", "evsim.types.LIF", True),
        ("from ... import types", "evsim.learning.rules", "evsim.types", True),
        ("from .learning import *", "evsim", "evsim.learning", True),
        ("def f():\n    from evsim import io", "evsim", "evsim.io", False),
    ],
)
def test_the_reader_of_imports_resolves(line, package, name, relative):
    (found,) = _imports(ast.parse(line), package)
    assert (found.name, found.relative) == (name, relative)


def test_the_reader_knows_what_runs_on_loading():
    text = """
if TYPE_CHECKING:
    import tonic.a
else:
    import tonic.b
try:
    import tonic.c
except ImportError:
    pass
class C:
    import tonic.d
    def f(self):
        import tonic.e
"""
    names = sorted(i.name for i in _imports_on_loading(ast.parse(text), "evsim.io"))
    assert names == ["tonic.b", "tonic.c", "tonic.d"]


@_of("evsim._kernels")
def test_kernels_import_only_their_siblings(source):
    wrong = [
        i
        for i in _imports(source.tree(), source.package)
        if i.within("evsim") and not (i.relative and i.within("evsim._kernels"))
    ]
    assert not _offences(source, wrong)


@_of("evsim.learning._kernels")
def test_learning_kernels_import_only_kernels(source):
    wrong = [
        i
        for i in _imports(source.tree(), source.package)
        if i.within("evsim") and not i.within("evsim._kernels", "evsim.learning._kernels")
    ]
    assert not _offences(source, wrong)


FLOORS = (
    ("errors", "checks", "units", "types", "threads", "memory", "text_files", "streams", "_lazy", "ranks", "versions",
     "_kernels"),
    ("spikes", "neurons", "encode", "analysis"),
    ("description",),
    ("synapses",),
    ("results",),
    ("engine",),
    ("simulate", "network", "networks", "plot", "testing"),
    ("learning", "io"),
    ("experiment",),
    ("cli", "__main__"),
)
"""The way of the data, from below: a room imports from its own floor and those above it in this table, no other."""

STRANGERS = (("evsim.learning", "evsim.io"), ("evsim.io", "evsim.learning"), ("evsim.plot", "evsim.testing"))
"""Rooms that know nothing of each other, though they share a floor."""


def _floor(module: str) -> int:
    room = module.split(".")[1]
    return next(k for k, names in enumerate(FLOORS) if room in names)


MODULES = {s.module for s in SOURCES}


@cache
def _targets(source: Source) -> dict[str, int]:
    """Modules of evsim that a file imports, functions included, with a line of each; not the face."""
    found = {}
    for i in _imports(source.tree(), source.package):
        name = i.name if i.name in MODULES else i.name.rpartition(".")[0]
        if name in MODULES and name not in ("evsim", source.module):
            found[name] = i.line
    return found


@each_source
def test_no_import_runs_back_up(source):
    if source.module == "evsim":
        return
    up = {name: line for name, line in _targets(source).items() if _floor(name) > _floor(source.module)}
    assert not up, f"{source} stands on floor {_floor(source.module)}"


@each_source
def test_rooms_that_do_not_know_each_other_import_nothing_of_each_other(source):
    wrong = [
        i
        for here, there in STRANGERS
        if source.module.startswith(here)
        for i in _imports(source.tree(), source.package)
        if i.within(there)
    ]
    assert not _offences(source, wrong)


def test_no_imports_run_in_a_circle():
    graph = {s.module: set(_targets(s)) for s in SOURCES if s.module != "evsim"}
    assert list(TopologicalSorter(graph).static_order())


def test_hypothesis_and_mpmath_are_needed_by_nothing_that_loads_by_itself():
    """`evsim --help` and a plain install work without them: what uses them is imported where it is used."""
    needing = ("evsim.testing", "evsim.learning.checks.properties")
    wrong = [
        offence
        for source in SOURCES
        if source.package != "evsim.testing" and source.module not in needing
        for offence in _offences(
            source, [i for i in _imports_on_loading(source.tree(), source.package) if i.within(*needing)]
        )
    ]
    assert not wrong


SCREEN = ("click", "rich")


@_of("evsim.cli")
def test_the_command_line_knows_no_numerics(source):
    """It reads options, calls `experiment` and prints what that returns."""
    allowed = ("evsim.cli", "evsim.experiment", "evsim.errors", "evsim.ranks", "evsim.text_files", *SCREEN)
    wrong = [
        i
        for i in _imports(source.tree(), source.package)
        if not i.within(*allowed) and i.name.split(".")[0] not in sys.stdlib_module_names - {"evsim"}
    ]
    assert not _offences(source, [i for i in wrong if not i.within("threadpoolctl")])


@each_source
def test_only_the_command_line_prints(source):
    if source.package in ("evsim.cli", "evsim.testing") or source.module == "evsim.__main__":
        return
    tree = source.tree()
    assert not _offences(source, [i for i in _imports(tree, source.package) if i.within(*SCREEN)])
    prints = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
    assert not [f"{source}:{n.lineno}" for n in prints]


@_of("evsim.cli")
def test_the_command_line_has_no_console_of_its_modules(source):
    """Each command makes its own, for the terminal of then."""
    made = [n for n in source.tree().body if isinstance(n, ast.Assign) and "Console" in ast.unparse(n.value)]
    assert not [f"{source}:{n.lineno}" for n in made]


@each_source
def test_packages_of_extras_are_imported_only_where_they_are_used(source):
    if source.module == "evsim.learning.torch":
        return
    extras = ("tonic", "torch", "mpi4py", "optuna")
    wrong = [i for i in _imports_on_loading(source.tree(), source.package) if i.within(*extras)]
    assert not _offences(source, wrong)


# --- weight -----------------------------------------------------------------------------------------------

_TIMED_IMPORT = """
import json, sys, time
begin = time.process_time()
import evsim
seconds = time.process_time() - begin
print(json.dumps({"seconds": seconds, "file": evsim.__file__, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def imported_evsim(tmp_path_factory) -> list[dict]:
    """What three fresh interpreters, started outside the repository, say of `import evsim`; seconds of CPU time, as
    other processes may run beside them."""
    away = tmp_path_factory.mktemp("away")
    answers = []
    for _ in range(3):
        child = subprocess.run(
            [sys.executable, "-c", _TIMED_IMPORT], cwd=away, capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        answers.append(json.loads(child.stdout))
    return answers


def test_evsim_is_imported_in_less_than_half_a_second(imported_evsim):
    assert min(answer["seconds"] for answer in imported_evsim) < 0.5


HEAVY = ["numba", "scipy", "matplotlib", "h5py", "sklearn", "tonic", "torch", "hypothesis", "mpmath"]


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_evsim_leaves_heavy_libraries_unloaded(imported_evsim, heavy):
    assert heavy not in imported_evsim[0]["modules"]


def test_the_installed_evsim_has_a_file(imported_evsim):
    """A left-over folder beside an editable install would hide it: the file would be None."""
    assert imported_evsim[0]["file"] is not None


def test_without_torch_the_bridge_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import evsim.learning.torch"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "evsim.learning.torch needs torch" in child.stderr and "pip install torch" in child.stderr


def test_no_text_names_a_distribution_of_a_registry():
    """evsim is on none: what says so fails, or installs what a stranger put there."""
    folders = ("evsim", "learning", "io", "docs", "notebooks")
    texts = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in {".py", ".md", ".ipynb"}]
    named = [str(p) for p in (*texts, ROOT / "README.md") if re.search(r"evsim\[[a-z]", p.read_text(encoding="utf-8"))]
    assert not named


# --- tests ------------------------------------------------------------------------------------------------

TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_test_imports_another_one():
    """What several test files share stands in tests/helpers, which knows no test either."""
    wrong = [
        f"{path.relative_to(ROOT)}:{i.line} imports {i.name}"
        for path in TESTS
        for i in _imports(ast.parse(path.read_text(encoding="utf-8")), "tests")
        if any(part == "tests" or part.startswith("test_") for part in i.name.split(".")[:-1]) or i.relative
    ]
    assert len(TESTS) > 100 and not wrong


def test_files_that_start_with_test_stand_in_a_room():
    assert [path.name for path in TESTS if path.name.startswith("test_") and path.parent == ROOT / "tests"] == []
