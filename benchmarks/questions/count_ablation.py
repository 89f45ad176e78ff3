"""What do counts, spike times and factors of HM2-BP each contribute? Ablation on rate codes and on codes of time.

    full            HM2BP(): micro factor 1 + s = 2, not passed back
    factor 1        micro="none"
    factor Gamma    micro="meanfield", in both places
    factor passed   pass_factor=True
    passed, silent 1   the same, but factor 1 for silent neurons and no train for silent targets
    rates only      factor 1; e_ij = o_j (tau_s/T) o_i (1 - exp(-y_i)): no spike time enters
    shuffled        factor 1; e from spikes drawn anew, uniformly, with the recorded counts
    ratio 1         factor 1; the signal passed back has a constant for e_ij/o_j

Data: digits by Poisson rates, digits by latencies (one spike per pixel), and randman, where every input spikes once and
classes differ by spike times only. Same network, start, loss and settings for all variants of a data set; the epoch
is chosen on held-out training samples, and differences to the first variant are paired by seed. With Adam a constant
factor of a layer's gradient has no effect: what "factor passed" changes comes from silent neurons, whose s is not 1.
Open questions A5, A6 and A11 (docs/open_questions.md); figure: docs/figures/count_ablation.png.

python benchmarks/questions/count_ablation.py --data randman latency digits
python benchmarks/questions/count_ablation.py --data randman --variants "passed, silent 1" --figure passed.png
python benchmarks/questions/count_ablation.py --data digits --hidden 2 4 --seeds 3 \
    --figure docs/figures/count_ablation_deep.png --variants full "factor passed" "passed, silent 1" "factor Gamma"
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.errors import SilentLayerError
from evsim.experiment.config import RunConfig, build, start
from evsim.io.datasets import Dataset, load_dataset
from evsim.learning import HM2BP, calibrate
from evsim.learning.rules.counts.signals import with_target_trains
from evsim.learning.rules.counts.slopes import regular_mean
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_COMMON: dict[str, Any] = {
    "rule": "hm2bp", "loss": "count", "train_size": 400, "test_size": 360, "validation": 80, "batch_size": 10,
    "epochs": 8, "threads": 1, "t_ref": 1.0, "tau_m": 20.0, "tau_syn": 5.0, "hidden_count": 3.0, "output_count": 4.0,
}  # fmt: skip
_COUNTS = {"desired": 10.0, "undesired": 0.0, "margin": 0.0}
DATA: dict[str, dict[str, Any]] = {
    "digits": {**_COMMON, "dataset": "digits", "encoder": "poisson", "max_rate": 200.0, "duration": 100.0,
               "loss_options": _COUNTS},
    "latency": {**_COMMON, "dataset": "digits", "encoder": "latency", "window": (0.0, 60.0), "duration": 100.0,
                "loss_options": _COUNTS},
    "randman": {**_COMMON, "dataset": "randman", "duration": 100.0, "loss_options": _COUNTS,
                "data_options": {"classes": 4, "units": 20, "samples_per_class": 450}},
}  # fmt: skip


@dataclass(frozen=True)
class RatesOnly(HM2BP):
    """micro="none" with the mean-field S-PSP of counts alone, and with a constant for e/o_j on request."""

    micro: str = "none"
    rates_only: bool = True
    ratio_1: bool = False
    signals: ClassVar[tuple[str, ...]] = ("counts",)

    def backward(
        self, layer: Any, inputs: SpikeBatch, outputs: Any, signal: Floats, t_stop: float, *,
        is_output: bool = False, wants_signal: bool = True, threads: int = 1,
    ) -> tuple[dict[str, Floats], Floats]:  # fmt: skip
        """As HM2BP, by counts."""
        neuron = layer.neuron
        scale = neuron.tau_syn / neuron.tau_m
        if self.ratio_1:
            gradients, _ = super().backward(
                layer, inputs, outputs, signal, t_stop, is_output=is_output, wants_signal=False, threads=threads
            )
            return gradients, (signal / layer.theta) @ layer.weight.T * (self.silent_ratio * scale)
        seen = with_target_trains(layer, outputs, signal, t_stop) if is_output else outputs
        post, pre = seen.counts(), inputs.counts()
        m = regular_mean(np.maximum(post, 1), t_stop, neuron.tau_m, neuron.t_ref)[0] * (neuron.tau_syn / t_stop)
        delta = signal / layer.theta
        told = delta * (post > 0) * m
        gradient = pre.T @ told + (pre > 0).T.astype(float) @ (delta * (post == 0) * (self.silent_psp * scale))
        by_spiking = told @ layer.weight.T
        silent = self.silent_ratio * scale
        below = np.where(pre > 0, by_spiking + (delta * (post == 0) * silent) @ layer.weight.T, 0.0)
        return {"weight": gradient}, below + np.where(pre == 0, delta @ layer.weight.T * silent, 0.0)


@dataclass(frozen=True)
class Shuffled(HM2BP):
    """micro="none" with every spike drawn anew, uniformly over the sample, for the rule's eyes only."""

    micro: str = "none"

    def backward(self, layer: Any, inputs: SpikeBatch, outputs: Any, *rest: Any, **more: Any) -> Any:
        """As HM2BP, on drawn spikes; the stream depends on the numbers of spikes alone, so runs can be repeated."""
        rng = np.random.default_rng([inputs.times.size, outputs.times.size])
        return super().backward(layer, drawn(inputs, rest[1], rng), drawn(outputs, rest[1], rng), *rest, **more)


def drawn(batch: SpikeBatch, t_stop: float, rng: np.random.Generator) -> SpikeBatch:
    """The counts of a batch at uniform instants."""
    times = rng.uniform(0.0, t_stop, batch.times.size)
    sample = np.repeat(np.arange(len(batch)), np.diff(batch.offsets))
    order = np.lexsort((times, sample))
    return SpikeBatch(times[order], batch.neurons[order], batch.offsets, batch.size)


VARIANTS: dict[str, HM2BP] = {
    "full": HM2BP(), "factor 1": HM2BP(micro="none"), "factor Gamma": HM2BP(micro="meanfield"),
    "factor passed": HM2BP(pass_factor=True), "rates only": RatesOnly(), "shuffled": Shuffled(),
    "ratio 1": RatesOnly(ratio_1=True),
    "passed, silent 1": HM2BP(pass_factor=True, silent_micro=0.0, fake_target_train=False),
}  # fmt: skip


def accuracy(name: str, hidden: int, variant: str, seed: int, optimiser: str, rate: float) -> float:
    """Test accuracy in % of the epoch best on held-out samples; chance if a layer falls silent."""
    config = RunConfig(**DATA[name] | {"hidden": (50,) * hidden, "seed": seed, "optimiser": optimiser, "rate": rate})
    data = load_dataset(config.dataset, None, config.train_size, config.test_size, **config.data_options)
    model, trainer = build(config, data)
    trainer.rule = VARIANTS[variant]
    start(config, model)
    calibrate(model, data.x_train, config, [config.hidden_count] * hidden + [config.output_count])
    try:
        for _ in trainer.epochs(data.x_train, data.y_train, *some(data)):
            pass
    except SilentLayerError:
        print(f"  {name} {variant} seed {seed}: a layer fell silent after epoch {trainer.epoch}")
    if not trainer.history:
        return 100.0 / data.n_classes
    for (_, array), best in zip(model.parameters(), trainer.best_parameters):
        array[...] = best
    return 100.0 * trainer.evaluate(data.x_test, data.y_test).accuracy


def some(data: Dataset) -> tuple[Any, np.ndarray]:
    """A single test sample: what a trainer looks at after each epoch; here the whole test set is looked at once."""
    x, y = data.x_test, data.y_test[:1]
    return (x.take(np.arange(1)) if isinstance(x, SpikeBatch) else x[:1]), y


def main() -> None:
    """Train, print a table and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--hidden", nargs="+", type=int, default=[1], help="numbers of hidden layers of 50")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS)[:-1], choices=list(VARIANTS))
    parser.add_argument("--optimiser", default="adam", choices=["adam", "sgd"])
    parser.add_argument("--rate", type=float, default=None, help="step size; default 1e-2 (Adam), 3e-3 (SGD)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--figure", type=Path, default=FIGURES / "count_ablation.png")
    args = parser.parse_args()
    rate = args.rate or (1e-2 if args.optimiser == "adam" else 3e-3)
    print(machine(), f"seeds 1 ... {args.seeds}, {args.optimiser}, rate {rate:g}")
    began = time.process_time()
    found: dict[str, dict[str, Floats]] = {}
    print(f"{'data':22s} {'variant':14s} {'mean':>6s} {'sd':>5s}  {'paired difference to the first, mean +- sd':s}")
    for name in args.data:
        for hidden in args.hidden:
            title = name if len(args.hidden) == 1 else f"{name}, {hidden} hidden layers"
            found[title] = {}
            for variant in args.variants:
                runs = [accuracy(name, hidden, variant, s, args.optimiser, rate) for s in range(1, args.seeds + 1)]
                values = found[title][variant] = np.array(runs)
                off = values - found[title][args.variants[0]]
                print(
                    f"{title:22s} {variant:14s} {values.mean():6.2f} {values.std(ddof=1):5.2f}  "
                    f"{off.mean():+6.2f} +- {off.std(ddof=1):.2f}",
                    flush=True,
                )
    print(f"{time.process_time() - began:.0f} s of CPU")
    draw(found, args.figure)


def draw(found: dict[str, dict[str, Floats]], path: Path) -> None:
    """Mean and standard deviation over seeds of each variant, a panel per data set, seeds as dots."""
    figure, axes = plt.subplots(1, len(found), figsize=(2.7 * len(found) + 1.0, 2.9), squeeze=False)
    for ax, (title, values) in zip(axes[0], found.items()):
        for k, runs in enumerate(values.values()):
            ax.errorbar(runs.mean(), -k, xerr=runs.std(ddof=1), marker="o", capsize=3, color="C0")
            ax.plot(runs, np.full(runs.size, -k + 0.25), ".", color="0.6", ms=3)
        ax.set(title=title, xlabel="test accuracy (%)")
        ax.set_yticks(-np.arange(len(values)), list(values))
    save(figure, path)


if __name__ == "__main__":
    main()
