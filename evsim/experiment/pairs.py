"""Which rule goes with which loss and layer: what a run is refused by, and the tables of ``evsim rules``."""

from __future__ import annotations

from typing import Any

from evsim.errors import InputError
from evsim.experiment.losses import LOSSES, LossEntry, loss_entry
from evsim.experiment.rules import RULES, make_rule, rule_entry
from evsim.learning.baselines.ann import ANNTrainer
from evsim.learning.needs import takes


def fits(rule: Any, loss: LossEntry) -> bool:
    """Can a rule train by a loss? A loss of PSCs is also one of spike times."""
    starts = loss.signal in rule.signals or (loss.signal == "psc" and "times" in rule.signals)
    needs = getattr(rule, "needs", None)
    if loss.readout is None or needs is None:
        return starts
    return starts and loss.readout in (needs.moments if loss.momentary else needs.features)


def check_pair(rule_name: str, rule_options: dict[str, Any], loss_name: str) -> None:
    """Raises ValueError : a rule that cannot train by the loss, with those that go with each; unknown names."""
    loss, rule = loss_entry(loss_name), make_rule(rule_name, rule_options)
    if is_spiking(rule_name) and not fits(rule, loss):
        losses = [name for name, entry in LOSSES.items() if fits(rule, entry)]
        rules = [name for name in RULES if is_spiking(name) and fits(RULES[name].make(), loss)]
        raise InputError(
            f"the rule {rule_name} cannot train by the loss {loss_name}: give it one of the losses "
            f"{', '.join(losses)}, or train by {loss_name} with one of the rules {', '.join(rules)}."
        )


def rules_and_losses() -> list[list[str]]:
    """A table: each rule that trains spikes, and "x" by each loss that goes with it; its titles first."""
    rules = [(name, entry.make()) for name, entry in RULES.items() if is_spiking(name)]
    rows = [[name, *("x" if fits(rule, loss) else "-" for loss in LOSSES.values())] for name, rule in rules]
    return [["", *LOSSES], *rows]


def rules_and_layers() -> list[list[str]]:
    """A table: each rule that trains spikes, and "x" by each kind of layer that it takes with its default options."""
    rows = [(name, takes(entry.make().needs)) for name, entry in RULES.items() if is_spiking(name)]
    return [["", *rows[0][1]], *([name, *("x" if yes else "-" for yes in row.values())] for name, row in rows)]


def is_spiking(name: str) -> bool:
    """Does a rule train a network that spikes, which ann and linear do not?"""
    return not issubclass(rule_entry(name).trainer, ANNTrainer)
