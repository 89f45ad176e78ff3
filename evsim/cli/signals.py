"""Interrupts of the command line: Ctrl-C, SIGTERM (a cluster's end of a job) and SIGHUP (a closed terminal)."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_COMMAND = "evsim.command"


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end. number : of the signal"""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Request:
    """number : of the signal that asked for an end; 0: none did"""

    number = 0


_earlier = Request()
"""The signal for which ``interrupts`` raised. Where Python was in a weakref callback or ``__del__`` it drops the
exception: then the command runs on, and ``requests`` takes the signal up."""


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """128 + number of the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)


@contextmanager
def interrupts() -> Iterator[None]:
    """Within it every such signal raises ``Interrupted``; one that was ignored (nohup) stays ignored."""

    def end(number: int, _: Any) -> None:
        _earlier.number = number
        raise Interrupted(number)

    _earlier.number = 0
    with _handled(end):
        yield


@contextmanager
def requests() -> Iterator[Request]:
    """Within it the first such signal is noted in the ``Request``, the next one raises ``Interrupted``."""
    request = Request()
    request.number = _earlier.number

    def note(number: int, _: Any) -> None:
        if request.number:
            raise Interrupted(number)
        request.number = number

    with _handled(note):
        yield request


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            with suppress(ValueError):
                signal.signal(number, old)


def remember(ctx: click.Context, args: list[str]) -> None:
    """Keep the arguments of this command for ``command_line``."""
    ctx.meta[_COMMAND] = list(args)


def command_line(*more: str) -> str:
    """The command that runs, quoted for a shell, with ``more`` options; "" where it was not started by one.

    --resume and --overwrite are left out unless they are among ``more``: they say how this run began, not what it is.
    """
    context = click.get_current_context(silent=True)
    if context is None or _COMMAND not in context.meta:
        return ""
    args = [a for a in context.meta[_COMMAND] if a not in ("--resume", "--overwrite")]
    return shlex.join(["evsim", *args, *more])


def say_how_to_resume(what: str) -> None:
    """Say on standard error what an interrupt left, and the command that continues it."""
    command = command_line("--resume")
    sys.stdout.flush()
    click.echo(f"{what}\n    {command}" if command else what, err=True)
