"""``evsim warm-up``: what it says while it compiles."""

from __future__ import annotations

import time

from rich.console import Console

from evsim.experiment.kernels import kernel_folder, kernels_on_disk
from evsim.experiment.warm_up import do, pieces


def compile_all() -> None:
    """Do a little of everything, and say how many kernels that has compiled."""
    console = Console()
    began, before = time.perf_counter(), kernels_on_disk()
    for name, some in pieces():
        with console.status(f"compiling: {name}"):
            for piece in some:
                do(piece)
    new, seconds = kernels_on_disk() - before, time.perf_counter() - began
    text = f"{new} kernels compiled in {seconds:.0f} s" if new else "all kernels were compiled before"
    console.print(f"{text}; they lie in {kernel_folder()}", markup=False, highlight=False, soft_wrap=True)
