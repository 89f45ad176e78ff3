"""Learning rules by name. A new rule is one line in RULES; its options are the arguments of what makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evsim.errors import InputError
from evsim.experiment import named as named
from evsim.learning.baselines.ann import ANN, ANNTrainer, Linear
from evsim.learning.baselines.grid import GridTrainer, SurrogateBPTT
from evsim.learning.rules import HM2BP, STLLR, STRSBP, TSSLBP, EventProp, RateBased, ottt
from evsim.learning.training.trainer import Trainer


@dataclass(frozen=True)
class RuleEntry:
    """make : class or function; its arguments are the rule's options
    loss : by name, what the rule starts from where nothing else is asked for
    trainer : what runs it
    """

    make: Callable[..., Any]
    loss: str
    trainer: type[Trainer] = Trainer


RULES: dict[str, RuleEntry] = {
    "ann": RuleEntry(ANN, "integral-voltage", ANNTrainer),
    "eventprop": RuleEntry(EventProp, "integral-voltage"),
    "hm2bp": RuleEntry(HM2BP, "count"),
    "linear": RuleEntry(Linear, "integral-voltage", ANNTrainer),
    "ottt": RuleEntry(ottt, "integral-voltage"),
    "rate-based": RuleEntry(RateBased, "integral-voltage"),
    "s-tllr": RuleEntry(STLLR, "integral-voltage"),
    "st-rsbp": RuleEntry(STRSBP, "count"),
    "surrogate-bptt": RuleEntry(SurrogateBPTT, "integral-voltage", GridTrainer),
    "tssl-bp": RuleEntry(TSSLBP, "psc"),
}


def rule_entry(name: str) -> RuleEntry:
    """Raises ValueError : unknown name."""
    if name not in RULES:
        raise InputError(f"there is no rule {name!r}. Known: {', '.join(sorted(RULES))}.")
    return RULES[name]


def make_rule(name: str, options: Mapping[str, Any]) -> Any:
    """Raises ValueError : unknown name or option."""
    return named.make(f"the rule {name}", rule_entry(name).make, options)
