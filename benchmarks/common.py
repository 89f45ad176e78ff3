"""What the scripts share: folders of the repository, arguments, and tables that say where their numbers come from.

A script puts this folder into its path and imports from here before evsim; so it runs from any folder, with the evsim
that is installed or named by PYTHONPATH, and otherwise with that of its own checkout.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
RESULTS = ROOT / "docs" / "results"

sys.path.append(str(ROOT))


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows the docstring of its script as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def machine() -> dict[str, Any]:
    """What the figures were measured on: processor, cores, system, versions."""
    from evsim.experiment.bench import machine as of_evsim

    return of_evsim()


def commit(checkout: Path | None = None) -> str:
    """Short name of the commit of a checkout; None: of the evsim that is measured."""
    if checkout is None:
        import evsim

        checkout = Path(str(evsim.__file__)).resolve().parents[1]
    asked = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def command() -> str:
    """The command line of this run; of paths from the root of the file system only the last part."""
    script = Path(sys.argv[0]).resolve()
    words = (Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])
    return f"python {script.relative_to(ROOT).as_posix()} {shlex.join(words)}".strip()


def origin(at: str | None = None) -> str:
    """The first line of a table: what was run, at which commit, and where."""
    about = machine()
    versions = ", ".join(f"{name} {about[name]}" for name in about if name not in ("cpu", "cores"))
    return f"# {command()}; {at or commit()}; {about['cores']} cores of {about['cpu']}, {versions}\n"


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any] | Mapping[str, Any]], at: str | None = None
) -> None:
    """A table below one line of comment, "# command; commit; machine", which docs/results/README.md explains.

    columns : names; rows : values in their order, or by name; at : what to name in place of the measured commit
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(origin(at))
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([row[name] for name in columns] if isinstance(row, Mapping) else row for row in rows)
