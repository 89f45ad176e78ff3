"""What README, docs, notebooks, docstrings and tables of results point to is there."""

import json
import re

import pytest

from helpers.paths import BENCHMARKS, DOCS, ROOT

PAGES = [ROOT / "README.md", BENCHMARKS / "README.md", *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TABLES = sorted(DOCS.rglob("*.csv"))
SOURCES = sorted(p for room in ("evsim", "learning", "io") for p in (ROOT / room).rglob("*.py"))
NAMED = re.compile(
    r"(?<![\w/.-])((?:tests|benchmarks|docs|evsim|learning|io|notebooks)/[\w/-]+\.(?:py|md|csv|png|toml|ipynb|txt))\b"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def lost(text):
    """Files of the repository that a text names by path and that are not there."""
    return sorted({name for name in NAMED.findall(text) if not (ROOT / name).exists()})


def heading(line):
    """The anchor that a heading has in rendered markdown."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")


def dead(text, folder):
    """Relative links and pictures of a page in a folder that lead nowhere."""
    found = []
    for target in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        name, _, anchor = target.partition("#")
        place = folder / name
        if re.match(r"[a-z]+:", target):
            continue
        if not place.exists() or (name.startswith("/")):
            found.append(target)
        elif anchor:
            page = place.read_text(encoding="utf-8") if name else text
            if anchor not in map(heading, re.findall(r"^#+ .*$", page, flags=re.MULTILINE)):
                found.append(target)
    return found


def prose(notebook):
    """Text of the markdown cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def said(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=said)
def test_links_and_pictures_of_a_page_lead_somewhere(page):
    assert dead(page.read_text(encoding="utf-8"), page.parent) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=said)
def test_links_of_a_notebook_lead_somewhere(notebook):
    assert dead(prose(notebook), notebook.parent) == []


@pytest.mark.parametrize("text", [*PAGES, *NOTEBOOKS, *TABLES], ids=said)
def test_files_named_by_path_are_there(text):
    assert lost(text.read_text(encoding="utf-8")) == []


def test_files_named_by_docstrings_are_there():
    """Also commands that scripts show: but not the figures and tables that they write."""
    wrong = {said(path): lost(path.read_text(encoding="utf-8")) for path in SOURCES}
    for path in BENCHMARKS.rglob("*.py"):
        wrong[said(path)] = [n for n in lost(path.read_text(encoding="utf-8")) if not n.endswith((".png", ".csv"))]
    assert {path: names for path, names in wrong.items() if names} == {}


def test_pictures_pages_of_rules_and_tables_have_their_folders():
    assert [said(p) for p in DOCS.rglob("*.png") if p.parent != DOCS / "figures"] == []
    assert [said(p) for p in TABLES if p.parent != DOCS / "results"] == []


def test_the_index_of_the_docs_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md") if p.name != "README.md"]
    assert [name for name in pages if f"]({name})" not in index] == []


def test_what_is_gone_is_seen(tmp_path):
    (tmp_path / "there.md").write_text("# One\n\n## 2. Two, three\n")
    assert lost("see `tests/test_gone.py`, and `tests/conftest.py`") == ["tests/test_gone.py"]
    good = "[a](there.md) [b](there.md#2-two-three) ![c](there.md) [d](https://x.org/y) `[e](f)`\n# Here\n[f](#here)"
    assert dead(good, tmp_path) == []
    assert dead("[a](gone.md) ![b](gone.png) [c](there.md#four) [d](#e)", tmp_path) == [
        "gone.md", "gone.png", "there.md#four", "#e",
    ]  # fmt: skip
