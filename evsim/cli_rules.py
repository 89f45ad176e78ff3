"""Learning rules by name. A new rule is one line in RULES; its options are the arguments of what makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evsim import cli_named as named
from evsim.learning.protocols import Rule
from evsim.learning.rules import HM2BP, EventProp


@dataclass(frozen=True)
class RuleEntry:
    """make : class or function; its arguments are the rule's options
    loss : by name, what the rule starts from where nothing else is asked for
    """

    make: Callable[..., Rule]
    loss: str


RULES: dict[str, RuleEntry] = {
    "eventprop": RuleEntry(EventProp, "integral-voltage"),
    "hm2bp": RuleEntry(HM2BP, "count"),
}


def rule_entry(name: str) -> RuleEntry:
    """Raises ValueError : unknown name."""
    if name not in RULES:
        raise ValueError(f"there is no rule {name!r}. Known: {', '.join(sorted(RULES))}.")
    return RULES[name]


def make_rule(name: str, options: Mapping[str, Any]) -> Rule:
    """Raises ValueError : unknown name or option."""
    rule: Rule = named.make(f"the rule {name}", rule_entry(name).make, options)
    return rule
