"""``evsim gradcheck``: a rule's gradient beside the true one, as a table."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from evsim.experiment.config import RunConfig
from evsim.experiment.gradient_check import Check, with_given_input, with_mean_loss


def mean_run(config: RunConfig, samples: int, out: Path | None, draws: int, precision: float) -> bool:
    """Print what ``with_mean_loss`` finds; with ``out`` also write it there. Returns whether anything was compared."""
    console = Console()
    with console.status("differences of the mean loss by every parameter"):
        check = with_mean_loss(config, samples, draws, precision)
    config, report = check.config, check.report
    title = (
        f"{config.rule} on {check.samples} samples of {config.dataset}, {_sizes(check)}, Poisson input at up to "
        f"{config.max_rate:g} Hz for {config.duration:g} ms; loss {report.true_loss}; reference: {report.reference}, "
        f"{report.draws} draws, noise {report.noise:.2g} of its norm"
    )
    table = Table("layer", "n", "cosine", "norm / reference", "verdict", title=title, box=box.SIMPLE_HEAD)
    for row in report.rows:
        table.add_row(
            "all" if row.layer < 0 else str(row.layer + 1), str(row.n), f"{row.cosine:.3f} +- {row.cosine_error:.3f}",
            f"{row.norm_ratio:.3f} +- {row.norm_ratio_error:.3f}", check.verdict(row),
        )  # fmt: skip
    console.print(table)
    console.print(f"[bold]{report.verdict}[/]")
    if out is not None:
        _say_files(console, check.write(out))
    return report.ok


def gradcheck_run(config: RunConfig, samples: int, out: Path | None) -> bool:
    """Print what ``with_given_input`` finds; with ``out`` also write it there. Returns whether the rule is what it
    claims to be."""
    console = Console()
    check = with_given_input(config, samples)
    report = check.report
    title = (
        f"{config.rule} on {samples} samples of {config.dataset}, {_sizes(check)}; loss {report.true_loss}; reference: "
        f"{report.reference}"
    )
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
        _say_files(console, check.write(out))
    return report.ok


def _sizes(check: Check) -> str:
    return "-".join(map(str, check.sizes))


def _say_files(console: Console, files: list[Path]) -> None:
    console.print(f"written: {', '.join(map(str, files))}", markup=False, soft_wrap=True)
