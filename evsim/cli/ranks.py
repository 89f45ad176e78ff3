"""Commands on several ranks (--mpi): who speaks, and how all end when one cannot go on."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

import click

from evsim.cli.signals import exit_code
from evsim.errors import MENDABLE
from evsim.experiment.folder import results_folder
from evsim.ranks.alone import ALONE
from evsim.ranks.first import on_first
from evsim.ranks.launcher import check_alone
from evsim.ranks.machines import check_machines
from evsim.ranks.protocol import Communicator

_PATIENCE = 3.0
"""Seconds in which the other ranks may fail, too: then what they met is the same, and it is said once."""


@contextmanager
def ranks(mpi: bool) -> Iterator[Communicator]:
    """The ranks of a command; without --mpi this process alone. Rank 0 alone prints.

    Where all ranks fail, rank 0 says why, as a process alone would. Where one does, it says so and ends all.

    Raises InputError : no MPI, a launcher that started several processes although ``mpi`` is not asked for, or that MPI
    knows nothing of, ranks that do not have the same program and C library.
    """
    if not mpi:
        check_alone()
        yield ALONE
        return
    from evsim.ranks.mpi import world

    comm = world()
    with ExitStack() as stack:
        if comm.rank > 0:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        try:
            check_machines(comm)
            yield comm
        except (Exception, KeyboardInterrupt) as failure:
            if comm.all_fail(_PATIENCE):
                if comm.rank == 0:
                    raise
                raise SystemExit(_status(failure)) from failure
            _say(failure, comm)
            comm.abort()


def _status(failure: BaseException) -> int:
    return exit_code(failure) if isinstance(failure, KeyboardInterrupt) else 1


def _say(failure: BaseException, comm: Communicator) -> None:
    if not isinstance(failure, (*MENDABLE, KeyboardInterrupt)):
        traceback.print_exception(failure, file=sys.stderr)
    text = f"{failure}" or type(failure).__name__
    click.echo(f"Error on rank {comm.rank} of {comm.size}, which ends all: {text}", err=True)


@contextmanager
def folder_of_ranks(comm: Communicator, *args: Any, **options: Any) -> Iterator[Callable[[], None]]:
    """``results_folder``, which rank 0 holds; what the others get removes nothing."""
    held: list[Callable[[], None]] = []
    with ExitStack() as stack:
        on_first(comm, lambda: held.append(stack.enter_context(results_folder(*args, **options))))
        yield held[0] if held else lambda: None
