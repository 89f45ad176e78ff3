"""Training samples per second of Norse: backpropagation through time with a surrogate gradient, on a grid.

Run in an interpreter that has torch and norse; evsim is not needed there. Two layers of LIF neurons with exponential
currents, tau 20 and 5 ms, first spikes of the output as logits (yin-yang) or the largest output voltage (mnist), Adam.
Inputs are drawn before the clock starts. Prints one JSON line.

    python benchmarks/peers_norse.py --work yin-yang --steps 120 --dt 0.5 --threads 2
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from importlib.metadata import version

import torch
from norse.torch import LIFCell, LIFParameters, LIParameters
from norse.torch.module.leaky_integrator import LICell


class Net(torch.nn.Module):
    """n_in-hidden-n_out over a grid of time steps."""

    def __init__(self, n_in: int, hidden: int, n_out: int, dt: float) -> None:
        super().__init__()
        taus = {"tau_mem_inv": torch.tensor(1 / 20e-3), "tau_syn_inv": torch.tensor(1 / 5e-3)}
        p = LIFParameters(v_th=torch.tensor(1.0), **taus)
        self.first, self.second = torch.nn.Linear(n_in, hidden, bias=False), torch.nn.Linear(hidden, n_out, bias=False)
        self.lif = LIFCell(p=p, dt=dt * 1e-3)
        self.read = LICell(p=LIParameters(**taus), dt=dt * 1e-3)
        with torch.no_grad():
            self.first.weight.normal_(1.5 if n_in == 5 else 0.2, 0.78 if n_in == 5 else 0.2).mul_(2.0)
            self.second.weight.normal_(0.2, 0.4)

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """(steps, batch, n_in) -> (batch, n_out), the largest readout voltage."""
        state, read_state, top = None, None, None
        for x in spikes:
            z, state = self.lif(self.first(x), state)
            v, read_state = self.read(self.second(z), read_state)
            top = v if top is None else torch.maximum(top, v)
        assert top is not None
        return top


def main() -> None:
    """One unmeasured batch, then the measured ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=["yin-yang", "mnist"], default="yin-yang")
    parser.add_argument("--hidden", type=int, default=120)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--dt", type=float, default=0.5, help="ms")
    parser.add_argument("--batch", type=int, default=150)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    n_in, n_out = (5, 3) if a.work == "yin-yang" else (784, 10)
    share = 1.0 if a.work == "yin-yang" else 137 / 784
    net = Net(n_in, a.hidden, n_out, a.dt)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    window = int((30.0 if a.work == "yin-yang" else 20.0) / a.dt)
    inputs = torch.zeros(a.steps, a.batch, n_in)
    when = torch.randint(0, min(window, a.steps), (a.batch, n_in))
    inputs.scatter_(0, when[None], (torch.rand(a.batch, n_in) < share).float()[None])
    labels = torch.randint(n_out, (a.batch,))

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimiser.step()

    step()
    started = time.perf_counter()
    for _ in range(a.batches):
        step()
    seconds = time.perf_counter() - started
    print(json.dumps({
        "simulator": "norse", "version": version("norse"), "torch": torch.__version__, "work": a.work,
        "hidden": a.hidden, "batch": a.batch, "steps": a.steps, "dt": a.dt, "threads": a.threads,
        "samples_per_second": a.batch * a.batches / seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
