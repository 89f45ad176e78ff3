"""``evsim rules``: what can be named on the command line, and its options."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Console
from rich.table import Table

from evsim.cli_losses import LOSSES
from evsim.cli_named import options_of
from evsim.cli_rules import RULES


def list_parts() -> None:
    """Print rules and losses, each with the first line of its documentation and its options."""
    console = Console()
    table = Table("rule", "what it is", "options for --rule-option", "loss", title="learning rules", show_lines=True)
    for name, rule in sorted(RULES.items()):
        table.add_row(name, _first_line(rule.make), _options(rule.make), rule.loss)
    console.print(table)
    table = Table("loss", "what it is", "options for --loss-option", "by", title="losses", show_lines=True)
    for name, loss in sorted(LOSSES.items()):
        signal = getattr(loss.make, "signal", "")
        table.add_row(name, _first_line(loss.make), _options(loss.make, loss.given), signal)
    console.print(table)


def _first_line(part: Any) -> str:
    return (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")


def _options(part: Any, given: Any = ()) -> str:
    known = options_of(part, given)
    return "\n".join(k if v is inspect.Parameter.empty else f"{k}={v!r}" for k, v in known.items())
