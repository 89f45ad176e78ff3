"""What a process of ``evsim compare`` says: log.txt and error.txt in the folder of its run."""

from __future__ import annotations

import traceback
from pathlib import Path

from rich.console import Console

from evsim.cli.train import train_run
from evsim.experiment.comparison import Run
from evsim.experiment.processes import Observer, end_with_parent


def run_alone(run: Run, last_try: bool, samples: int, lock: Path) -> None:
    """Train in the folder of a run, or resume there. What is printed goes to log.txt, why it failed to error.txt.

    last_try, samples, lock : see ``Observer``
    """
    from threadpoolctl import threadpool_limits

    end_with_parent()
    with (run.folder / "log.txt").open("a", encoding="utf-8") as log, threadpool_limits(run.config.threads):
        try:
            resume = (run.folder / "run.h5").exists()
            observe = Observer(samples, lock, last_try)
            train_run(run.config, run.folder, resume, observe, console=Console(file=log, width=110))
        except Exception as error:
            (run.folder / "error.txt").write_text(f"{type(error).__name__}: {error}\n")
            traceback.print_exc(file=log)
            log.flush()
            raise SystemExit(1) from error
