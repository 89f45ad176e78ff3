"""The saved state of a trainer, checked before anything of it is taken over: it comes from a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.engine.state_check import array, integer, like, number, refuse, sequence, table
from evsim.learning.model import Sequential

_KEYS = ("thresholds", "weights", "optimiser", "epoch", "history", "best", "boost")


def checked_training(state: Any, model: Sequential) -> dict[str, Any]:
    """What ``Trainer.load`` may use of a state, as its own copies; the optimiser checks its part.

    Raises ValueError : keys that are missing; weights of other shapes than the model's, or not finite; a history, best
    epoch or boosting weights that no training leaves.
    """
    state = table(state, "run", *_KEYS)
    epoch = integer(state["epoch"], "epoch")
    history = sequence(state["history"], "history", epoch)
    for k, row in enumerate(history):
        for name, value in table(row, f"history/{k}").items():
            if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
                refuse(f"history/{k}/{name}", f"must be a number; it is {value!r}")
    best = table(state["best"], "best", "epoch", "accuracy", "weights")
    boost = state["boost"]
    return {
        "thresholds": _thresholds(state["thresholds"], model),
        "weights": _weights(state["weights"], "weights", model),
        "optimiser": table(state["optimiser"], "optimiser"),
        "epoch": epoch,
        "history": history,
        "best": {
            "epoch": integer(best["epoch"], "best/epoch", 0, epoch),
            "accuracy": number(best["accuracy"], "best/accuracy"),
            "weights": _weights(best["weights"], "best/weights", model),
        },
        "boost": None if boost is None else array(boost, "boost", np.float64, low=0.0),
    }


def _thresholds(values: Any, model: Sequential) -> list[Any]:
    out: list[Any] = []
    for k, (v_th, layer) in enumerate(zip(sequence(values, "thresholds", len(model.layers)), model.layers)):
        shape = () if np.ndim(v_th) == 0 else (layer.parameter_sets(),)
        checked = array(v_th, f"thresholds/{k}", np.float64, shape)
        out.append(checked if checked.ndim else float(checked))
    return out


def _weights(values: Any, where: str, model: Sequential) -> list[np.ndarray]:
    parameters = model.parameters()
    return [
        like(w, f"{where}/{k}", parameter)
        for k, (w, (_, parameter)) in enumerate(zip(sequence(values, where, len(parameters)), parameters))
    ]
