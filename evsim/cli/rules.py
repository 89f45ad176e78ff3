"""``evsim rules``: what can be named on the command line, and its options."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from typing import Any

import click

from evsim.experiment.losses import LOSSES
from evsim.experiment.named import options_of
from evsim.experiment.pairs import rules_and_layers, rules_and_losses
from evsim.experiment.published import PUBLICATIONS, Publication, publication
from evsim.experiment.rules import RULES

_WIDEST = 120


def list_parts() -> None:
    """Print rules and losses, each with the first lines of its documentation and its options.

    Plain lines: no name is ever cut, however wide the terminal is, and a pipe gets the same text.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    _say("Learning rules (--rule NAME, --rule-option NAME=VALUE)", width, "")
    for name, rule in sorted(RULES.items()):
        _part(name, rule.make, (), f"starts from the loss {rule.loss}", width)
        if name in PUBLICATIONS:
            _published(PUBLICATIONS[name], width)
    click.echo()
    _say("Losses (--loss NAME, --loss-option NAME=VALUE)", width, "")
    for name, loss in sorted(LOSSES.items()):
        _part(name, loss.make, loss.given, f"its signal is by {loss.signal}", width)
    click.echo()
    _table("Which rule trains by which loss (ann and linear have a loss of their own)", rules_and_losses())
    click.echo()
    _table("Which rule takes which layer, with its default options", rules_and_layers())


def say_differences(rule: str, dataset: str) -> None:
    """Print what a run with --preset published has from the publication, and what still differs."""
    published = publication(rule)
    width = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
    note = "" if dataset in published.runs else f" Its settings for {dataset} are evsim's own."
    _say(f"{rule} as published: {published.source}.{note} What differs: {'; '.join(published.differs)}.", width, "")


def _table(title: str, rows: list[list[str]]) -> None:
    """Titles of columns stand above each other, so that no line is wide."""
    click.echo(title)
    first, *others = rows
    name = max(len(row[0]) for row in rows)
    for k, column in enumerate(first[1:]):
        click.echo(" " * (name + 2) + "|  " * k + column)
    for row in others:
        click.echo(f"{row[0]:{name}}  " + "  ".join(row[1:]))


def _published(published: Publication, width: int) -> None:
    _say(f"--preset published: {published.source}", width, "    ")
    _say(", ".join(f"{k}={v!r}" for k, v in published.options.items()) or "the defaults above", width, "      ")
    if published.common:
        _say("all data: " + ", ".join(f"{k}={v!r}" for k, v in published.common.items()), width, "      ")
    for dataset, run in published.runs.items():
        _say(f"{dataset}: " + ", ".join(f"{k}={v!r}" for k, v in run.items()), width, "      ")
    _say(f"still differs: {'; '.join(published.differs)}", width, "      ")


def _part(name: str, part: Any, given: Any, note: str, width: int) -> None:
    click.echo()
    click.echo(name)
    first = (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")
    _say(f"{first} ({note})" if note else first, width, "    ")
    known = options_of(part, given)
    kinds = inspect.signature(part).parameters
    for option, default in known.items():
        value = "" if default is inspect.Parameter.empty else f"={default!r}"
        _say(f"{option}{value}  ({_kind(kinds[option].annotation)})", width, "      ")


def _kind(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    named = {"bool": "true or false", "int": "integer", "float": "number", "str": "text", "None": "none"}
    named["Surrogate"] = "S1, S2, S3, S4 or TSSL"
    return " or ".join(named.get(kind.strip(), kind.strip()) for kind in text.split("|"))


def _say(text: str, width: int, indent: str) -> None:
    more = indent + ("    " if indent else "")
    click.echo(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=more, break_long_words=False,
                             break_on_hyphens=False))  # fmt: skip
