"""How constant is alphahat = e_ij/(o_i o_j), which HM2-BP takes as constant, while a network trains?

Digits, HM2-BP, one hidden layer. After each epoch the same samples are shown and alphahat of every synapse whose two
neurons spike is compared with that of the presentation before, |new/old - 1|. "Frozen": a sample has the same input
spikes in every epoch, so that alphahat changes by learning alone. "Redrawn": its Poisson spikes are drawn anew.
The part at equal counts keeps the synapses whose o_i and o_j are what they were: what spike timing alone does.
Open question A3 (docs/open_questions.md); figure: docs/figures/credit_drift.png.

python benchmarks/questions/credit_drift.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import preset
from evsim.io.datasets import load_dataset
from evsim.learning import Trainer, calibrate
from evsim.learning.spsp import s_psp_batch
from evsim.types import Floats

SHOWN = 40
Presentation = list[tuple[Floats, np.ndarray, np.ndarray]]


def alphahats(trainer: Trainer, x: Floats, epoch: int) -> Presentation:
    """Of each layer: alphahat (samples, n_post, n_pre), nan where a neuron is silent, and the counts of both ends."""
    o = trainer.options
    spikes = trainer.model.forward(o.encode(x, np.arange(SHOWN), epoch), o.duration)
    found = []
    for layer, pre, post in zip(trainer.model.layers, spikes, spikes[1:]):
        e = s_psp_batch(pre, post, layer.neuron, o.duration)
        pairs = post.counts()[:, :, None] * pre.counts()[:, None, :]
        found.append((np.where(pairs > 0, e, np.nan) / np.maximum(pairs, 1), post.counts(), pre.counts()))
    return found


def changes(new: Presentation, old: Presentation) -> list[tuple[Floats, Floats]]:
    """By layer: relative changes of all synapses that are defined in both, and of those at equal counts."""
    found = []
    for (a, post_a, pre_a), (b, post_b, pre_b) in zip(new, old):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = a / b - 1.0
        equal = (post_a == post_b)[:, :, None] & (pre_a == pre_b)[:, None, :] & np.isfinite(ratio)
        found.append((ratio[np.isfinite(ratio)], ratio[equal]))
    return found


def run(seed: int, frozen: bool, epochs: int) -> list[list[tuple[Floats, Floats]]]:
    """Changes from each epoch to the next, by layer; prints accuracy and the CV of alphahat."""
    given = preset("digits", "hm2bp") | {"hidden": (50,), "epochs": epochs, "train_size": 600, "test_size": 300}
    config = RunConfig(**given | {"seed": seed, "threads": 1, "frozen_noise": frozen})
    data = load_dataset(config.dataset, None, config.train_size, config.test_size)
    model, trainer = build(config, data)
    start(config, model)
    calibrate(model, data.x_train, config, [config.hidden_count, config.output_count])

    def now() -> Presentation:
        return alphahats(trainer, data.x_train, 0 if frozen else 1000 + trainer.epoch)

    before, found = now(), []
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        after = now()
        found.append(changes(after, before))
        before = after
    # Of the synapses of one layer across samples and synapses: how much alphahat varies at all.
    spread = [float(np.nanstd(a) / np.nanmean(a)) for a, _, _ in before]
    hits = 100.0 * trainer.history[-1]["test_accuracy"]
    print(
        f"{'frozen' if frozen else 'redrawn':8s} seed {seed}: test accuracy {hits:.1f} %, CV of "
        f"alphahat over samples and synapses: hidden {spread[0]:.2f}, output {spread[1]:.2f}",
        flush=True,
    )
    return found


def main() -> None:
    """Print the table and draw the histograms."""
    parser = arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, default=FIGURES / "credit_drift.png")
    args = parser.parse_args()
    print(machine(), f"seeds 1 ... {args.seeds}")
    began = time.process_time()
    pooled: dict[bool, list[list[tuple[Floats, Floats]]]] = {}
    for frozen in (True, False):
        runs = [run(seed, frozen, args.epochs) for seed in range(1, args.seeds + 1)]
        pooled[frozen] = [
            [tuple(np.concatenate([r[epoch][k][part] for r in runs]) for part in (0, 1)) for k in (0, 1)]  # type: ignore
            for epoch in range(args.epochs)
        ]
    print("\nmedian and 90th percentile of |change|; share of synapses at equal counts, and the same for these")
    for frozen, epochs in pooled.items():
        for k, layer in enumerate(("hidden", "output")):
            for epoch, found in enumerate(epochs, 1):
                every, equal = (np.abs(part) for part in found[k])
                at_equal = f"{np.median(equal):7.3f} {np.quantile(equal, 0.9):7.3f}" if equal.size else "none"
                print(
                    f"{'frozen' if frozen else 'redrawn':8s} {layer:7s} epoch {epoch:2d}: {np.median(every):7.3f} "
                    f"{np.quantile(every, 0.9):7.3f}   {100 * equal.size / every.size:5.1f} % {at_equal}"
                )
    print(f"{time.process_time() - began:.0f} s of CPU")
    draw(pooled, args.figure)


def draw(pooled: dict[bool, list[list[tuple[Floats, Floats]]]], path: Path) -> None:
    """Histograms of the change in the first, a middle and the last epoch."""
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 4.6), sharex=True, sharey=True)
    bins = np.linspace(-1.0, 2.0, 91)
    for row, frozen in enumerate((True, False)):
        epochs = pooled[frozen]
        for k, layer in enumerate(("hidden", "output")):
            ax = axes[row, k]
            for n, epoch in enumerate(sorted({0, len(epochs) // 2, len(epochs) - 1})):
                every = epochs[epoch][k][0]
                ax.hist(every, bins, density=True, histtype="step", color=f"C{n}", label=f"epoch {epoch + 1}")
            last = epochs[-1][k][1]
            if last.size:
                ax.hist(last, bins, density=True, histtype="step", color="0.5", ls="--", label="last, equal counts")
            ax.set(title=f"{layer} layer, {'frozen' if frozen else 'redrawn'} input", yscale="log", ylim=(1e-3, 1e2))
    for ax in axes[1]:
        ax.set_xlabel("relative change of alphahat between epochs")
    axes[0, 0].legend(fontsize=7)
    save(figure, path)


if __name__ == "__main__":
    main()
