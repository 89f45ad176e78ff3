"""Tables of results in README and docs say what their CSV files say.

A comment `<!-- table: FOLDER/NAME.csv -->` above a table names the file, from the page's folder. Columns are matched by
name; a cell with several numbers has columns of its own in the file, "NAME [...]", in the order of the numbers. Where
the file has a column "seed" or "run", the lines of a row of the table follow each other, and the table shows their mean
(and sd after "+-"); otherwise each line is a row of the table. A file may have more columns, but the same rows. Of a
table alone is a column "A over B (95 %)": the mean of A - B over the lines, and half of its 95 % interval.
"""

import csv
import re
from decimal import Decimal
from itertools import groupby

import numpy as np
import pytest
from scipy.stats import rankdata
from scipy.stats import t as student

from helpers.paths import ROOT

RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKER = re.compile(r"<!-- table: (\S+) -->")
NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?")
REPEATS = ("seed", "run")
PAIRED = re.compile(r"(.+) over (.+) \(95 %\)")


def cells(line):
    """Of a line of a markdown table, without bold."""
    return [c.strip().replace("**", "").replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def tables_of(text):
    """(name of the file or None, header, rows) of each table of a page."""
    lines, found, name = text.splitlines(), [], None
    for k, line in enumerate(lines):
        if match := MARKER.fullmatch(line.strip()):
            name = match[1]
        elif line.startswith("|") and (k == 0 or not lines[k - 1].startswith("|")):
            end = next((i for i in range(k, len(lines)) if not lines[i].startswith("|")), len(lines))
            found.append((name, cells(line), [cells(row) for row in lines[k + 2 : end]]))
            name = None
        elif line.strip():
            assert name is None, f"{name}: no table follows its comment"
    return found


def read(path):
    """(comment, header, lines) of a CSV file."""
    comment, *rest = path.read_text().splitlines()
    header, *lines = list(csv.reader(rest))
    assert len(set(header)) == len(header) and all(len(line) == len(header) for line in lines), path.name
    return comment, header, lines


def grouped(header, lines):
    """Lines of each row of the table."""
    repeat = next((header.index(name) for name in REPEATS if name in header), None)
    if repeat is None:
        return [[line] for line in lines]
    return [list(group) for _, group in groupby(lines, key=lambda line: line[:repeat])]


def wrong(cell, columns):
    """What a cell should say, or None. columns : its texts in the file, (columns, lines)."""
    same = all(len(set(c)) == 1 for c in columns)
    if same and cell == columns[0][0] and not any(c[0] for c in columns[1:]):
        return None
    if not same:
        values = np.array([float(v) for v in columns[0]])
        return unlike(cell, [values.mean(), values.std(ddof=1)][: len(NUMBER.findall(cell))])
    texts = [c[0] for c in columns if c[0] != ""]
    if not texts or not all(NUMBER.fullmatch(t) for t in texts):
        return " ".join(texts) or "nothing"
    return unlike(cell, [float(t.replace(",", "")) for t in texts])


def wrong_pairs(cell, first, second):
    """Likewise for a column "A over B (95 %)"; first, second : texts of A and B."""
    found = np.array(first, dtype=float) - np.array(second, dtype=float)
    half = student.ppf(0.975, found.size - 1) * found.std(ddof=1) / np.sqrt(found.size)
    return None if cell == "" and not found.any() else unlike(cell, [found.mean(), half])


def unlike(cell, wanted):
    """The numbers that a cell should show, if it does not, to the digits that it has."""
    shown = NUMBER.findall(cell)
    good = len(shown) == len(wanted) and all(
        abs(float(a.replace(",", "")) - b) <= (0.5 + 1e-9) * 10.0 ** Decimal(a.replace(",", "")).as_tuple().exponent
        for a, b in zip(shown, wanted)
    )
    return None if good else ", ".join(f"{v:.6g}" for v in wanted)


def means_of(rows):
    """Each "mean +- sd" of a table."""
    return {mean for row in rows for cell in row for mean in re.findall(r"[\d.]+ \+- [\d.]+", cell)}


def differences(header, rows, file_header, lines):
    """Sentences on all that a table and its file do not share."""
    found, groups = [], grouped(file_header, lines)
    if len(groups) != len(rows):
        return [f"{len(rows)} rows for {len(groups)} in the file"]
    for j, name in enumerate(header):
        places = [k for k, h in enumerate(file_header) if h == name or (h.startswith(f"{name} [") and h[-1] == "]")]
        paired = PAIRED.fullmatch(name)
        pair = [k for part in paired.groups() for k, h in enumerate(file_header) if h == part] if paired else []
        if not places and len(pair) != 2:
            found.append(f"no column {name!r} in the file")
            continue
        for row, group in zip(rows, groups):
            columns = [[line[k] for line in group] for k in places or pair]
            if (say := wrong(row[j], columns) if places else wrong_pairs(row[j], *columns)) is not None:
                found.append(f"row {row[0]!r}, column {name!r}: {row[j]!r}, but the file has {say}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_are_those_of_their_files(page):
    found = []
    for name, header, rows in tables_of(page.read_text()):
        if name is not None:
            found += [f"{name}: {text}" for text in differences(header, rows, *read(page.parent / name)[1:])]
    assert found == []


@pytest.mark.slow
def test_tables_with_means_have_files_and_files_have_tables_command_and_commit():
    found = [(page, *table) for page in PAGES for table in tables_of(page.read_text())]
    named = {(page.parent / name).resolve() for page, name, *_ in found if name is not None}
    shown = {mean for _, name, _, rows in found if name is not None for mean in means_of(rows)}
    for page, name, header, rows in found:
        strange = set() if name is not None else means_of(rows) - shown
        assert not strange, f"{page.name}: the table {header} has means that no table with a file has: {strange}"
    index = (RESULTS / "README.md").read_text(encoding="utf-8")
    campaigns = {path for path in RESULTS.glob("*.csv") if f"`{path.name}`" in index}
    assert named == set(RESULTS.glob("*.csv")) - campaigns
    for path in RESULTS.glob("*.csv"):
        fields = [field.strip() for field in read(path)[0].lstrip("#").split(";")]
        assert path.read_text().startswith("# ") and len(fields) >= 3, path.name
        assert re.search(r"\b[0-9a-f]{7,40}\b", fields[1]), f"{path.name}: the second field names no commit"


@pytest.mark.slow
def test_the_summary_of_the_mean_gradient_study_is_of_its_rows():
    _, header, lines = read(RESULTS / "mean_gradient.csv")
    first = {}
    for line in lines:
        row = dict(zip(header, line))
        if row["layer"] == "0":
            first[tuple(row[k] for k in ("rule", "seed", "depth", "noise", "count"))] = row
    cases = {"no noise": ("2", "0", "3"), "Poisson": ("2", "inf", "3"), "count 0.7": ("2", "inf", "0.7"),
             "count 8": ("2", "inf", "8")}  # fmt: skip
    cases |= {f"jitter {noise} ms": ("2", noise, "3") for noise in ("0.5", "2", "8")}
    cases |= {f"depth {depth}": (depth, "inf", "3") for depth in "134"}
    figures = {"cosine": "cosine", "norm": "norm_ratio", "loss": "loss_after"}
    _, header, lines = read(RESULTS / "mean_gradient_summary.csv")
    names = header[2:]
    assert len(names) >= 3 * 7 and len({line[0] for line in lines}) == 12
    for line in lines:
        for name, value in zip(names, line[2:]):
            kind, case = name.split(", ")
            assert first[(*line[:2], *cases[case])][figures[kind]] == value, (line[0], name)


@pytest.mark.slow
def test_the_rank_correlations_of_the_mean_gradient_study_are_of_its_rows():
    """Ranks and correlation by their definitions; the bootstrap's interval is only looked at for order."""
    _, header, lines = read(RESULTS / "mean_gradient.csv")
    networks = {}
    for line in lines:
        row = dict(zip(header, line))
        if 0 <= int(row["layer"]) < int(row["depth"]):
            key = tuple(row[k] for k in ("depth", "noise", "count", "seed"))
            networks.setdefault(key, {}).setdefault(row["rule"], []).append(row)
    measures = {
        "the cosine": lambda row: float(row["cosine"]),
        "the nearness of the norm to 1": lambda row: -abs(np.log(float(row["norm_ratio"]))),
    }
    _, header, lines = read(RESULTS / "mean_gradient_learning.csv")
    assert len(lines) == 4
    for which, of, *figures in lines:
        found = []
        for key, rules in networks.items():
            agreement = np.array([np.mean([measures[of](row) for row in rows]) for rows in rules.values()])
            loss = np.array([float(rows[0]["loss_after"]) for rows in rules.values()])
            good = np.isfinite(agreement)
            if (which == "all networks" or key[1] == "inf") and good.sum() > 1:
                a, b = rankdata(agreement[good]), rankdata(loss[good])
                found.append(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))
        correlation, low, high, n = map(float, figures)
        assert n == len(found), which
        assert abs(correlation - np.mean(found)) < 5e-5 + 1e-9, (which, of)
        assert low < correlation < high


PAGE = """text

<!-- table: x.csv -->
| rule | accuracy (%) | n |
| --- | --- | --- |
| a | **1.5 +- 0.71** | 1,000 |
| b, 2 | 3.0 +- 1.41 | - |
"""
LINES = [["a", "1", "1", "1000"], ["a", "2", "2", "1000"], ["b, 2", "1", "2", "-"], ["b, 2", "2", "4", "-"]]
HEADER = ["rule", "seed", "accuracy (%)", "n"]


def test_a_table_that_agrees_and_each_way_to_drift():
    ((name, header, rows),) = tables_of(PAGE)
    assert name == "x.csv" and header == ["rule", "accuracy (%)", "n"]
    assert differences(header, rows, HEADER, LINES) == []
    assert len(differences(header, rows, HEADER, [*LINES[:3], ["b, 2", "2", "5", "-"]])) == 1
    assert len(differences(header, rows, HEADER, [["c", *LINES[0][1:]], ["c", *LINES[1][1:]], *LINES[2:]])) == 1
    assert differences(header, rows, HEADER, LINES[:2]) == ["2 rows for 1 in the file"]
    renamed = ["rule", "seed", "accuracy", "n"]
    assert differences(header, rows, renamed, LINES) == ["no column 'accuracy (%)' in the file"]


def test_transcribed_cells_with_several_numbers_and_rounding():
    header, own = ["rule", "x"], ["rule", "x", "x [sd]", "x [2]"]
    line = ["a", "1.25", "0.05", "9.84e-15"]
    assert differences(header, [["a", "1.25 +- 0.05 (9.84e-15)"]], own, [line]) == []
    assert differences(header, [["a", "1.3 +- 0.1 (1e-14)"]], own, [line]) == []
    assert len(differences(header, [["a", "1.25 +- 0.05"]], own, [line])) == 1
    assert len(differences(header, [["a", "1.25 +- 0.04"]], own[:3], [line[:3]])) == 1
    assert len(differences(header, [["a", "all"]], own[:2], [["a", "none"]])) == 1


def test_a_column_of_paired_differences_and_each_way_to_drift():
    own, lines = ["task", "seed", "a", "b"], [["x", "1", "3", "1"], ["x", "2", "5", "2"], ["x", "3", "4", "3"]]
    header = ["task", "a over b (95 %)"]  # differences 2, 3, 1: sd 1, half of the interval 4.303/sqrt(3)
    assert differences(header, [["x", "+2.0 +- 2.48"]], own, lines) == []
    assert len(differences(header, [["x", "+2.0 +- 2.49"]], own, lines)) == 1
    assert len(differences(header, [["x", "-2.0 +- 2.48"]], own, lines)) == 1
    assert len(differences(header, [["x", "+2.0"]], own, lines)) == 1
    assert len(differences(header, [["x", ""]], own, lines)) == 1
    assert differences(["task", "b over b (95 %)"], [["x", ""]], own, lines) == []
    assert differences(["task", "a over c (95 %)"], [["x", "+2.0 +- 2.48"]], own, lines) == [
        "no column 'a over c (95 %)' in the file"
    ]
