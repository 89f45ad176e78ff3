"""The folder of a comparison: which one it holds, and who is at work there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from evsim.errors import InputError, RunFileError
from evsim.experiment.claims import claimed
from evsim.experiment.comparison import RESULTS, Comparison, Part, Run, slug
from evsim.experiment.config import RunConfig
from evsim.experiment.folder import results_folder
from evsim.io.atomic import write_text

FILE = "comparison.json"
"""What a folder says of the comparison whose runs it holds."""

_FREE = ("seed", "threads", "data_dir")
"""Settings that the runs of a label do not share, or that change no result."""

_PATIENCE = 2.0
"""Seconds to wait for a folder: a comparison that was killed takes a moment to end."""


@contextmanager
def comparison_folder(
    comparison: Comparison, out: Path, asked: list[Run], part: Part | None, resume: bool, overwrite: bool
) -> Iterator[None]:
    """The folder, with this comparison's name in it, while nobody else does the same part."""
    if part and overwrite:
        raise InputError(
            "--overwrite with --part would remove what other parts do. Give --resume to continue this part, or another "
            "--out."
        )
    holds = [f"{slug(run.label)}/seed-{run.seed}" for run in asked]
    if part is None:
        holds = [*RESULTS, *dict.fromkeys([*holds, *_recorded(out)]), *([FILE] if overwrite else ())]
    name = "comparison" if part is None else f"part-{part.number}-of-{part.of}"
    described = describe(comparison)
    if not overwrite:
        check_same(described, out)
    alone = partial(claimed, name=name, patience=_PATIENCE, until_silent=True)
    with results_folder(out, holds, resume=resume, overwrite=overwrite, alone=alone) as clear:
        clear()
        record(described, out)
        yield


def describe(comparison: Comparison) -> dict[str, Any]:
    """Settings by label, and the runs, as JSON has them."""
    labels = {label: shared_settings(config) for label, _, config in comparison.runs}
    tree = {"labels": labels, "runs": [f"{slug(label)}/seed-{seed}" for label, seed, _ in comparison.runs]}
    return dict(json.loads(json.dumps(tree)))


def shared_settings(config: RunConfig) -> dict[str, Any]:
    """What all runs of a label have in common."""
    return {k: v for k, v in asdict(config).items() if k not in _FREE}


def _read(out: Path) -> dict[str, Any] | None:
    """What the folder says; None: nothing."""
    try:
        tree = json.loads((out / FILE).read_text(encoding="utf-8"))
        return tree if {"labels", "runs"} <= set(tree) else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RunFileError(f"{out / FILE} cannot be read ({error}); give another --out.") from error


def _recorded(out: Path) -> list[str]:
    return [] if (before := _read(out)) is None else list(before["runs"])


def check_same(now: dict[str, Any], out: Path) -> None:
    """now : what ``describe`` gives. Seeds and labels may be added and left out.

    Raises RunFileError : the folder holds another comparison.
    """
    before = _read(out)
    if before is None:
        return
    shared = [label for label in now["labels"] if label in before["labels"]]
    advice = "Give another --out, or remove that folder."
    if not shared:
        raise RunFileError(f"{out} holds another comparison, of {', '.join(before['labels'])}. {advice}")
    for label in shared:
        old, new = before["labels"][label], now["labels"][label]
        # Settings that one of the two versions of evsim does not have are not compared.
        if changed := [f"{k} = {old[k]!r} (now {new[k]!r})" for k in new if k in old and old[k] != new[k]]:
            raise RunFileError(
                f"{out} holds another comparison: its run {label} has other settings: {'; '.join(changed)}. {advice}"
            )


def record(now: dict[str, Any], out: Path) -> None:
    """Write what the folder holds. Of several that start at once the first one says it, the others compare.

    Raises RunFileError : see ``check_same``.
    """
    text = json.dumps(now, indent=1) + "\n"
    if not (out / FILE).exists():
        temporary = out / f".{FILE}.{os.getpid()}-{time.monotonic_ns()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        try:
            os.link(temporary, out / FILE)
        except FileExistsError:
            pass
        except OSError:  # no links on this file system
            with suppress(FileExistsError), (out / FILE).open("x", encoding="utf-8") as file:
                file.write(text)
        finally:
            temporary.unlink()
    check_same(now, out)
    if _read(out) != json.loads(text):
        write_text(out / FILE, text)
