"""A few threads that run one kernel together, from its barrier to the next: all of them, or none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from evsim._kernels.window.atomic import N_TEAM, abandon, enter, inside, leave


class Team:
    """``threads`` threads, this one among them; the others are started for each ``run`` and end with it.

    So none is left when a run is over, none is missing in a forked process, and where one cannot be started, fails,
    or is never reached because of an interrupt, the others leave their barrier instead of waiting for ever.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._shared = np.zeros(N_TEAM, np.int64)

    def settle(self) -> None:
        """Wait until those of a run that was given up have left what they share."""
        while inside(self._shared):
            time.sleep(0.0005)

    def run(self, work: Callable[[int, np.ndarray], None]) -> None:
        """Call ``work(k, shared)`` for k = 0 ... threads - 1, each on a thread, 0 on this one.

        shared : (N_TEAM,) int64, for the barrier of the kernel that ``work`` calls

        Raises what ``work`` raises anywhere; RuntimeError : a thread could not be started. After an exception
        others may still be at work: ``settle`` waits for them.
        """
        if self.threads == 1:
            work(0, self._shared)
            return
        # A new one each time: who comes late to a run that was given up finds it so.
        shared = np.zeros(N_TEAM, np.int64)
        self._shared = shared
        errors: list[BaseException] = []

        def help_with(k: int) -> None:
            if not enter(shared):
                return
            try:
                work(k, shared)
            except BaseException as error:
                errors.append(error)
                abandon(shared)
            finally:
                leave(shared)

        helpers = [threading.Thread(target=help_with, args=(k,), name=f"evsim-{k}") for k in range(1, self.threads)]
        try:
            for k, helper in enumerate(helpers):
                try:
                    helper.start()
                except RuntimeError as error:
                    raise RuntimeError(
                        f"thread {k + 2} of {self.threads} could not be started ({error}); ask for fewer threads."
                    ) from error
            work(0, shared)
        except BaseException:
            abandon(shared)
            raise
        for helper in helpers:
            helper.join()
        if errors:
            raise errors[0]
