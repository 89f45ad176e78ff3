"""``evsim gradcheck``: a rule's gradient beside the true one, as a table and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from evsim import plot
from evsim.cli_presets import PRESETS
from evsim.cli_train_config import RunConfig, build, load_data, start
from evsim.io import runs
from evsim.learning import Sequential, calibrate, check_gradient

console = Console()


def _keep_drive(config: RunConfig, model: Sequential) -> None:
    """A preset's weights suit its own hidden layer; with fewer neurons those behind it would be silent."""
    usual = PRESETS.get((config.dataset, config.rule), {}).get("hidden", config.hidden)
    if config.weight_scale and len(usual) == len(config.hidden):
        for layer, had, has in zip(model.layers[1:], usual, config.hidden):
            layer.weight *= max(1.0, had / has)


def gradcheck_run(config: RunConfig, samples: int, out: Path | None) -> bool:
    """Print the agreement of the rule's gradient on the first training samples, for weights as drawn; with ``out`` also
    write gradcheck.csv and gradcheck.png there. Returns whether the rule is what it claims to be."""
    data = load_data(config)
    config = replace(config, duration=data.duration or config.duration, validation=0)
    model, trainer = build(config, data)
    if start(config, model):
        targets = [config.hidden_count] * len(config.hidden) + [config.output_count]
        calibrate(model, data.x_train, config, targets)
    _keep_drive(config, model)
    inputs = config.encode(data.x_train, np.arange(samples), 1)
    report = check_gradient(
        model, trainer.rule, trainer.loss, inputs, data.y_train[:samples], config.duration, seed=config.seed
    )
    sizes = "-".join(str(n) for n in (model.layers[0].n_in, *(layer.n_out for layer in model.layers)))
    title = f"{config.rule} on {samples} samples of {config.dataset}, {sizes}; true loss: {report.true_loss}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("layer", "parameter", "against", "n", "error", "cosine", "signs", "scale", "verdict"):
        table.add_column(name, no_wrap=True)
    for row in report.rows:
        table.add_row(
            str(row.layer + 1), row.parameter.replace("recurrent", "rec."), row.against, str(row.n),
            f"{row.relative_error:.1e}", f"{row.cosine:.4f}",
            f"{row.sign_agreement:.3f}", f"{row.scale:.4g}",
            row.verdict(report.exact),
        )  # fmt: skip
    console.print(table)
    console.print(
        f"worst conditioning of a spike, |theta|/(tau_m dv/dt): {report.worst_conditioning:.3g} "
        "(large: near grazing, where derivatives are large and hold for tiny changes only)"
    )
    for note in report.notes:
        console.print(note)
    console.print(f"[bold]{report.verdict}[/]")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        runs.write_csv(out / "gradcheck.csv", report.asdicts())
        plot.gradients(report.pairs, title=f"{config.rule} and the true gradient").savefig(out / "gradcheck.png")
        console.print(f"written: {out / 'gradcheck.csv'}, {out / 'gradcheck.png'}", markup=False, soft_wrap=True)
    return report.ok
