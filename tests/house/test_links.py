"""What README, docs and comments of results point to is there."""

import re

import pytest

from helpers.paths import DOCS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMED = re.compile(
    r"(?<![\w/.-])((?:tests|benchmarks|docs|evsim|learning|io|notebooks)/[\w/-]+\.(?:py|md|csv|png|toml|ipynb|txt))\b"
)


def lost(text):
    """Files of the repository that a text names by path and that are not there."""
    return sorted({name for name in NAMED.findall(text) if not (ROOT / name).exists()})


@pytest.mark.parametrize("page", [*PAGES, *sorted(DOCS.rglob("*.csv"))], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_named_by_path_are_there(page):
    assert lost(page.read_text(encoding="utf-8")) == []


def test_a_file_that_is_gone_is_seen():
    assert lost("see `tests/test_gone.py`, and `tests/conftest.py`") == ["tests/test_gone.py"]
