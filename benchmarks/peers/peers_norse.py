"""Training samples per second of Norse: backpropagation through time with a surrogate gradient, on a grid; float32.

Hidden neurons are `LIFCell` (reset to zero), outputs `LICell`, both by forward Euler; network, loss, and what favours
the peer are those of peers_snntorch.py. Default steps: the coarsest grid of a few tried with the accuracy of
finer ones.

Runs in an interpreter that has torch and norse; evsim is not needed there. Prints one JSON line; what it means is in
peers_training.py.

    python benchmarks/peers/peers_norse.py --work yin-yang --data DIR --steps 120 --threads 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers_training import DURATIONS, TAU_M, TAU_S, grid_arguments, run

if TYPE_CHECKING:
    import torch
    from peers_grid import Layer


def layer(cell: torch.nn.Module) -> Layer:
    import torch

    def over_time(currents: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for current in currents.unbind(0):
            output, state = cell(current, state)
            outputs.append(output)
        return torch.stack(outputs)

    return over_time


def main() -> None:
    a = grid_arguments(__doc__, 120)
    import torch
    from norse.torch import LICell, LIFCell, LIFParameters, LIParameters
    from peers_grid import Grid

    dt = DURATIONS[a.work] / a.steps
    taus = {"tau_mem_inv": torch.tensor(1e3 / TAU_M), "tau_syn_inv": torch.tensor(1e3 / TAU_S)}
    lif = LIFCell(LIFParameters(**taus, v_th=torch.tensor(1.0)), dt=dt * 1e-3)
    leaky = LICell(LIParameters(**taus), dt=dt * 1e-3)
    run("norse", a, Grid(a, layer(lif), layer(leaky), 1.0), ["norse", "torch"], steps=a.steps, dt=dt)


if __name__ == "__main__":
    main()
