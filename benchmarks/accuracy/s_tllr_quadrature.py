"""Error of S-TLLR's integral against ``step``, for each secondary activation (docs/rules/s_tllr.md).

Digits, hidden weights of the preset, the gradient of 32 samples; reference: step 0.005 ms.

python benchmarks/accuracy/s_tllr_quadrature.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import settings
from evsim.io.datasets import load_dataset
from evsim.learning import STLLR
from evsim.learning.protocols import backward
from evsim.learning.surrogates import S1, S2, S3, S4

STEPS = (2.0, 1.0, 0.5, 0.1, 0.02)


def main() -> None:
    """Print |gradient - reference|/|reference| of the hidden layer."""
    arguments(__doc__).parse_args()
    print(machine())
    config = RunConfig(**settings("digits", "s-tllr", {"seed": 1, "threads": 1}))
    data = load_dataset("digits", None, None, None)
    model, trainer = build(config, data)
    start(config, model)
    rows = np.arange(32)
    spikes = model.forward(config.encode(data.x_train, rows, 1), config.duration)
    _, signal = trainer.loss(spikes[-1], data.y_train[rows])
    print("psi; steps (ms):", STEPS)
    for name, psi in (("S1", S1), ("S2", S2), ("S3", S3), ("S4", S4)):
        found = []
        for step in (*STEPS, 0.005):
            gradients, _ = backward(model, STLLR(psi=psi, a_post=-1.0, step=step), spikes, signal, config.duration)
            found.append(gradients[0]["weight"])
        errors = [np.linalg.norm(g - found[-1]) / np.linalg.norm(found[-1]) for g in found[:-1]]
        print(name, ", ".join(f"{e:.1e}" for e in errors), flush=True)


if __name__ == "__main__":
    main()
