"""MNIST, every rule: step size and one more parameter by the same four trials, then a comparison (docs/compare.md).

Two step sizes (that of the shipped comparison, and three times it) times two values of another parameter: of a rule
that evsim varies, one of its own; of a rule as published, whose options the publication fixes, the scale of the loss's
softmax, or the batch. Each trial trains on few samples with a seed that is not used again; the best validation accuracy
after the last epoch decides, the first of equal ones. A compare file with what was chosen is written to ``--chosen``.
Then its runs are done, seed by seed for all rules: what ``evsim compare`` does too, here in one process. Every finished
run is a line of ``--runs`` and is not done again; ``--results`` has the seeds that all rules have.

python benchmarks/questions/search_compare.py --data-dir DIR
"""

from __future__ import annotations

import copy
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, ROOT, arguments, machine, write_csv
from evsim.cli.compare import read_comparison
from evsim.errors import GradientError
from evsim.experiment.config import RunConfig, build, calibrate_start, load_data, start
from evsim.experiment.toml_text import comparison_text
from evsim.learning.baselines.ann import ANNTrainer
from evsim.learning.checks.gradcheck import training_agreement
from evsim.text_files import read_toml
from finished import FinishedRuns

SHIPPED = ROOT / "docs" / "compare_mnist.toml"
COMMON: dict[str, Any] = {
    "hidden": [100], "weight_scale": [0.04, 0.4], "batch_size": 16, "epochs": 1, "train_size": 6500, "validation": 500,
    "test_size": 2000,
}  # fmt: skip
"""What the comparison changes of the shipped one."""
SEARCH: dict[str, Any] = {"train_size": 1500, "validation": 500, "test_size": 100}
CHOICE = 100
"""Seed of the trials."""
AGREEMENT = 50
"""Training samples on which the hidden gradient after the last epoch is held beside EventProp's."""
_SOFTMAX = [{"loss_options": {"scale": 0.05}}, {"loss_options": {"scale": 0.1}}]
_MOMENTS = [{"loss_options": {"scale": 1.0}}, {"loss_options": {"scale": 0.3}}]
_BATCHES: list[dict[str, Any]] = [{}, {"batch_size": 32}]
SECOND: dict[str, list[dict[str, Any]]] = {
    "EventProp": [{"rule_options": {"min_slope": 0.1}}, {"rule_options": {"min_slope": 0.5}}],
    "surrogate BPTT, 1 ms": [{"rule_options": {"slope": 4.0}}, {"rule_options": {"slope": 10.0}}],
    "TSSL-BP, published": _SOFTMAX,
    "TSSL-BP, virtual spikes": [{"rule_options": {"a": 0.2}}, {"rule_options": {"a": 0.4}}],
    "rate-based, published": _SOFTMAX,
    "rate-based, hard reset": [
        {"rule_options": {"estimator": "surrogate"}}, {"rule_options": {"estimator": "interval", "silent_share": 0.1}},
    ],
    "S-TLLR, published": _MOMENTS,
    "S-TLLR, a_post = 0": [{"rule_options": {"psi": "S2"}}, {"rule_options": {"psi": "S3"}}],
    "OTTT, published": _MOMENTS,
    "HM2-BP below a readout": [{"rule_options": {"micro": "paper"}}, {"rule_options": {"micro": "meanfield"}}],
    "ST-RSBP below a readout": [{"rule_options": {"slopes": "regular"}}, {"rule_options": {"slopes": "intervals"}}],
    "HM2-BP, published": [{"batch_size": 1}, {"batch_size": 8}],
    "HM2-BP, counts": [{"hidden_count": 2.0}, {"hidden_count": 4.0}],
    "ANN": _BATCHES,
    "linear": _BATCHES,
}  # fmt: skip


def trials(entry: dict[str, Any], common: dict[str, Any]) -> list[dict[str, Any]]:
    """The four variants of a run of the comparison."""
    rate = entry.get("rate", common["rate"])
    rates = [float(f"{factor * rate:g}") for factor in (1.0, 3.0)]
    return [_merged(entry, {"rate": r, **second}) for r in rates for second in SECOND[entry["label"]]]


def _merged(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(entry)
    for name, value in changes.items():
        out[name] = {**out.get(name, {}), **value} if isinstance(value, dict) else value
    return out


def comparison() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The common options, and the runs with their first values."""
    shipped = read_toml(SHIPPED)
    entries = [copy.deepcopy(e) for e in shipped["run"] if e["label"] in SECOND]
    for entry in entries:
        if "hidden" in entry:
            entry["hidden"] = COMMON["hidden"]
    return {**shipped["common"], **COMMON}, entries


def trained(config: RunConfig, agreement: bool) -> tuple[float, ...]:
    """Validation and test accuracy after the last epoch, percent; cosine and share of equal signs of the hidden layer's
    gradient then, or NaN."""
    data = load_data(config)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate_start(config, model, trainer, data)
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        pass
    row = trainer.history[-1]
    found = (np.nan, np.nan)
    if agreement and not isinstance(trainer, ANNTrainer):
        few = np.arange(AGREEMENT)
        with suppress(GradientError):  # the loss has no true gradient
            hidden = training_agreement(trainer, trainer.inputs(data.x_train, few, 1), data.y_train[few])[0]
            found = hidden.cosine, 100.0 * hidden.sign_agreement
    return 100.0 * row["validation_accuracy"], 100.0 * row["test_accuracy"], *found


def search(runs: FinishedRuns, folder: Path, data_dir: str) -> dict[str, list[float]]:
    """Validation accuracies, percent, of the four trials of each run."""
    common, entries = comparison()
    asked = [{**t, "label": f"{e['label']} - {k}"} for e in entries for k, t in enumerate(trials(e, common))]
    path = folder / "search.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(comparison_text("Trials.", [CHOICE], 0, {**common, **SEARCH}, asked))
    found: dict[str, list[float]] = {}
    for label, seed, config in read_comparison(path, data_dir).runs:
        accuracy = runs.of((label, seed), partial(trained, config, False))[0]
        found.setdefault(label.rsplit(" - ", 1)[0], []).append(accuracy)
    return found


def write_choice(path: Path, found: dict[str, list[float]], seeds: int) -> None:
    """The compare file with the best trial of each run."""
    common, entries = comparison()
    comment = (
        "MNIST, every rule, with the step size and the other parameter that search_compare.py chose.\n"
        "Validation accuracies (%) of the four trials, two values of the parameter at each of two step sizes:"
    )
    chosen = []
    for entry in entries:
        values = found[entry["label"]]
        comment += f"\n  {entry['label']}: {', '.join(f'{v:.1f}' for v in values)}"
        chosen.append(trials(entry, common)[int(np.argmax(values))])
    path.write_text(comparison_text(comment, list(range(1, seeds + 1)), AGREEMENT, common, chosen))


def second_of(entry: dict[str, Any]) -> str:
    """The other parameter of a run, as the table shows it."""
    label = entry["label"]
    name = next(iter(SECOND[label][0] or SECOND[label][1]))
    value = entry.get(name, COMMON.get(name))
    if isinstance(value, dict):
        name = next(iter(SECOND[label][0][name]))
        value = value[name]
    return f"{name} = {value:g}" if isinstance(value, (int, float)) else f"{name} = {value}"


def write_table(path: Path, chosen: Path, runs: FinishedRuns, at: str | None) -> None:
    """A line for each run and seed that all runs have, the best rule first; beside it EventProp's with that seed.

    Nothing is written before there is one.
    """
    asked = read_toml(chosen)
    entries = {entry["label"]: entry for entry in asked["run"]}
    seeds = [s for s in asked["seeds"] if all(runs.key((label, s)) in runs.rows for label in entries)]
    if not seeds:
        return
    found = {label: np.array([runs.rows[runs.key((label, s))] for s in seeds]) for label in entries}
    lines = []
    for label in sorted(entries, key=lambda name: -found[name][:, 1].mean()):
        entry = entries[label]
        rate = f"{entry.get('rate', asked['common']['rate']):g}"
        for k, s in enumerate(seeds):
            _, accuracy, cosine, signs = found[label][k]
            agreement = [f"{v:.4f}" if np.isfinite(v) else "" for v in (cosine, signs)]
            reference = f"{found['EventProp'][k, 1]:.4f}"
            lines.append([label, rate, second_of(entry), s, f"{accuracy:.4f}", reference, *agreement])
    columns = ("", "step size", "other parameter", "seed", "accuracy (%)", "EventProp", "cosine", "equal signs (%)")
    write_csv(path, columns, lines, at)


def main() -> None:
    """Search, write the compare file, run it, write the table."""
    parser = arguments(__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_mnist.csv"), help="finished runs are added")
    parser.add_argument("--chosen", type=Path, default=RESULTS / "compare_mnist.toml")
    parser.add_argument("--results", type=Path, default=RESULTS / "compare_mnist.csv")
    parser.add_argument("--at", help="commit to name in the results, if the runs were made with another one")
    args = parser.parse_args()
    print(machine(), flush=True)
    runs = FinishedRuns(args.runs, ("label", "seed"), ("validation", "test", "cosine", "signs"))
    found = search(runs, args.runs.parent, args.data_dir)
    write_choice(args.chosen, found, args.seeds)
    for label, seed, config in sorted(read_comparison(args.chosen, args.data_dir).runs, key=lambda run: run[1]):
        runs.of((label, seed), partial(trained, config, True))
        write_table(args.results, args.chosen, runs, args.at)


if __name__ == "__main__":
    main()
