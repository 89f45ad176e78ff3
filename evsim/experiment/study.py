"""The trials of a search in Optuna's journal, which several processes on several machines may write."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evsim.errors import InputError, RunFileError
from evsim.experiment.comparison import slug
from evsim.experiment.search import Choices, Search, Searched

JOURNAL = "study.journal"
"""Optuna's file: `optuna-dashboard` and Optuna's own functions read it."""


class Study:
    """The trials of one run of a search.

    A trial has a number, from 0; those below the number of trials are asked for. It is open until its result is told:
    whose process was killed is taken up again, with the values that it has, by whoever finds it.

    Raises RunFileError : a journal that cannot be read.
    """

    def __init__(self, path: Path, search: Search, searched: Searched) -> None:
        optuna = the_optuna()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        # The lock is a file made with O_EXCL, which NFS has since version 3, and is passed over when it is not renewed.
        backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
        self._search, self._searched = search, searched
        try:
            with _quiet():
                self._study = optuna.create_study(
                    storage=JournalStorage(backend), study_name=slug(searched.label), direction="maximize",
                    sampler=optuna.samplers.RandomSampler(seed=0), load_if_exists=True,
                )  # fmt: skip
        except (ValueError, KeyError) as error:
            raise RunFileError(
                f"{path} is damaged, or no journal of Optuna ({error}). Give another --out, or remove that folder."
            ) from error

    def ask(self) -> None:
        """Open one more trial."""
        with _quiet():
            self._study.ask()

    def begun(self) -> int:
        """Number of trials that are open or told."""
        return len(self._study.get_trials(deepcopy=False))

    def open(self) -> list[int]:
        """Numbers of trials without a result."""
        return [t.number for t in self._study.get_trials(deepcopy=False) if not t.state.is_finished()]

    def values(self, number: int) -> dict[str, Any]:
        """Values of the options in a trial: those that it has, or else new ones.

        A new value depends on the first seed, the number and, with the sampler tpe, on trials told before.
        """
        optuna = the_optuna()
        with _quiet():
            self._study.sampler = self._sampler(optuna, number)
            trial = optuna.trial.Trial(self._study, self._id(number))
            out = {}
            for name, r in self._searched.ranges.items():
                if isinstance(r, Choices):
                    names = r.names()
                    out[name] = r.values[names.index(trial.suggest_categorical(name, names))]
                elif r.whole:
                    out[name] = trial.suggest_int(name, int(r.low), int(r.high), log=r.log)
                else:
                    out[name] = trial.suggest_float(name, r.low, r.high, log=r.log)
        return out

    def tell(self, number: int, accuracy: float | None, error: str = "") -> None:
        """The result of a trial. accuracy : None: its values do not train, for the reason ``error``"""
        optuna = the_optuna()
        with _quiet():
            if accuracy is None:
                optuna.trial.Trial(self._study, self._id(number)).set_user_attr("error", error)
                # Not FAIL, which samplers leave out: that such values do not train is something to learn from.
                self._study.tell(number, state=optuna.trial.TrialState.PRUNED)
            else:
                self._study.tell(number, accuracy)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Label, number, state, accuracy and values of the trials that are asked for."""
        for trial in self._study.get_trials(deepcopy=False)[: self._search.trials]:
            error = trial.user_attrs.get("error")
            state = "complete" if trial.state.name == "COMPLETE" else f"failed: {error}" if error else "open"
            row = {"label": self._searched.label, "trial": trial.number, "state": state}
            yield {**row, "validation_accuracy": trial.value, **trial.params}

    def _id(self, number: int) -> int:
        return int(self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _sampler(self, optuna: Any, number: int) -> Any:
        # Made anew for each trial: one that went on would begin anew with every process.
        key = f"{self._search.seeds[0]} {self._searched.label} {number}"
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
        samplers = optuna.samplers
        if self._search.sampler == "tpe":
            return samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
        chance = samplers.RandomSampler(seed=seed)
        if self._search.sampler == "random":
            return chance
        return samplers.PartialFixedSampler(self._searched.combination(number), chance)


def the_optuna() -> Any:
    """The module. Raises InputError : it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError("evsim tune searches with Optuna, which is not installed: pip install optuna") from error
    return optuna


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's lines on every trial, and its warnings of parts that may change."""
    optuna = the_optuna()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
