"""Samples per second of snnTorch on the network that evsim is measured on: 784-800-10, a grid of 400 steps.

A grid simulator's cost is set by neurons x steps, not by spikes. One sample is a 28 x 28 digit-like image
shown for 400 ms at 1 ms a step; pixel x in [0, 1] spikes in a step with probability x / 5.5, and the images
are drawn so that a sample has 7,450 input spikes on average. Neurons are `snn.Synaptic` with
alpha = exp(-1/8), beta = exp(-1/64): time constants of 8 and 64 ms.

    forward   spike counts of the output layer, no gradients
    train     the same with backpropagation through time (fast-sigmoid surrogate), mean squared error of
              the spike counts, one Adam step

Choices that favour snnTorch: the inputs are drawn before the clock starts (their time is reported apart),
the reset is by subtraction (its cheapest), and `--products once` multiplies the inputs of all steps by the
first weight matrix in one product, where the usual loop (`--products step`) does it at every step.

Prints one JSON line, so that another script can run it as a child process in the interpreter that has
torch and snntorch; neither evsim nor numpy is needed there. `peak_memory_mb` is the high-water mark of the
whole process, read after each kind of work.

    python benchmarks/peers/snntorch_forward.py --threads 2 --batch 20 --batches 5
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, not {text}")
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=positive, default=20, help="samples in a batch")
    parser.add_argument("--batches", type=positive, default=5, help="measured batches")
    parser.add_argument("--steps", type=positive, default=400, help="steps of 1 ms")
    parser.add_argument("--threads", type=positive, default=1, help="torch.set_num_threads")
    parser.add_argument("--products", choices=["step", "once"], default="step")
    parser.add_argument("--work", choices=["forward", "train", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


OPTIONS = arguments()  # before the imports: --help needs neither of them

import snntorch as snn  # noqa: E402
import torch  # noqa: E402
from snntorch import surrogate  # noqa: E402

SIDE, HIDDEN, CLASSES = 28, 800, 10
SPIKES_PER_SAMPLE = 7450
PIXEL_DIVISOR = 5.5  # probability of a spike in a 1 ms step = pixel / 5.5
ALPHA, BETA = math.exp(-1 / 8), math.exp(-1 / 64)
WEIGHT_SCALE = (0.06, 0.25)  # of torch's default weights: a hidden neuron then fires about once a sample


def digit_like_images(count: int, mean_sum: float, generator: torch.Generator) -> torch.Tensor:
    """Soft strokes along random curves; (count, 784) in [0, 1], pixel sums `mean_sum` on average."""
    ends = 4 + 20 * torch.rand(count, 2, 3, 2, generator=generator)  # two curves, three control points each
    u = torch.linspace(0, 1, 24)[:, None]
    a, b, c = (ends[:, :, k, None, :] for k in range(3))
    points = ((1 - u) ** 2 * a + 2 * u * (1 - u) * b + u**2 * c).reshape(count, -1, 2)
    axis = torch.arange(SIDE, dtype=torch.float32)
    pixels = torch.cartesian_prod(axis, axis).expand(count, -1, -1)
    distance = torch.cdist(pixels, points).amin(dim=2)
    low, high = 0.1, 10.0  # the stroke width that gives the wanted mean, by bisection
    for _ in range(40):
        width = (low + high) / 2
        images = torch.exp(-0.5 * (distance / width) ** 2)
        low, high = (width, high) if images.sum() < mean_sum * count else (low, width)
    return images


class Net(torch.nn.Module):
    """784-800-10 with the usual snnTorch loop over time."""

    def __init__(self, products: str) -> None:
        super().__init__()
        self.products = products
        grad = surrogate.fast_sigmoid()
        self.fc1 = torch.nn.Linear(SIDE * SIDE, HIDDEN, bias=False)
        self.lif1 = snn.Synaptic(alpha=ALPHA, beta=BETA, spike_grad=grad)
        self.fc2 = torch.nn.Linear(HIDDEN, CLASSES, bias=False)
        self.lif2 = snn.Synaptic(alpha=ALPHA, beta=BETA, spike_grad=grad)
        with torch.no_grad():
            self.fc1.weight *= WEIGHT_SCALE[0]
            self.fc2.weight *= WEIGHT_SCALE[1]

    def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(steps, batch, 784) -> output spikes (steps, batch, 10) and hidden spikes per neuron and sample."""
        syn1, mem1 = self.lif1.reset_mem()
        syn2, mem2 = self.lif2.reset_mem()
        # unbind, not indexing: the gradient of an index is as large as all steps together
        currents = self.fc1(spikes).unbind(0) if self.products == "once" else None
        outputs = []
        hidden = torch.zeros(())
        for step in range(spikes.shape[0]):
            current = currents[step] if currents is not None else self.fc1(spikes[step])
            spk1, syn1, mem1 = self.lif1(current, syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            hidden += spk1.detach().mean()
            outputs.append(spk2)
        return torch.stack(outputs), hidden


def peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(work: Callable[[int], None], batches: int, batch: int) -> dict:
    """One unmeasured batch, then `batches` measured ones."""
    work(0)
    seconds = []
    for k in range(batches):
        begin = time.perf_counter()
        work(k)
        seconds.append(time.perf_counter() - begin)
    return {
        "samples_per_second": round(batch / statistics.median(seconds), 3),
        "best_samples_per_second": round(batch / min(seconds), 3),
        "seconds_per_batch": [round(s, 4) for s in seconds],
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


def run(options: argparse.Namespace) -> dict:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    count = options.batch * options.batches
    mean_sum = SPIKES_PER_SAMPLE * PIXEL_DIVISOR / 400  # per 400 ms, whatever the number of steps
    images = digit_like_images(count, mean_sum, generator).reshape(options.batches, options.batch, -1)
    labels = torch.randint(CLASSES, (options.batches, options.batch), generator=generator)
    wanted = torch.where(torch.nn.functional.one_hot(labels, CLASSES) == 1, 40.0, 8.0)  # spikes

    begin = time.perf_counter()
    chance = (images / PIXEL_DIVISOR).unsqueeze(1).expand(-1, options.steps, -1, -1)
    inputs = torch.bernoulli(chance, generator=generator)  # (batches, steps, batch, 784)
    encoding = time.perf_counter() - begin

    net = Net(options.products)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-4)
    activity: dict[str, float] = {}

    def forward(k: int) -> None:
        with torch.no_grad():
            outputs, hidden = net(inputs[k])
        activity["hidden_spikes_per_neuron"] = round(hidden.item(), 3)
        activity["output_spikes_per_neuron"] = round(outputs.sum(0).mean().item(), 3)

    def train(k: int) -> None:
        counts = net(inputs[k])[0].sum(0)
        loss = torch.nn.functional.mse_loss(counts, wanted[k])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    result: dict = {
        "simulator": "snntorch",
        "network": [SIDE * SIDE, HIDDEN, CLASSES],
        "steps": options.steps,
        "batch": options.batch,
        "batches": options.batches,
        "threads": options.threads,
        "products": options.products,
        "seed": options.seed,
        "input_spikes_per_sample": round(inputs.sum().item() / count, 1),
        "encoding_samples_per_second": round(count / encoding, 1),
    }
    if options.work in ("forward", "both"):
        result["forward"] = measure(forward, options.batches, options.batch) | activity
    if options.work in ("train", "both"):
        result["train"] = measure(train, options.batches, options.batch)
    result["versions"] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "snntorch": version("snntorch"),
    }
    return result


if __name__ == "__main__":
    print(json.dumps(run(OPTIONS)))
