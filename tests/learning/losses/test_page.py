"""docs/losses.md: the table of signals names the rules that start from each."""

import re

import pytest

from evsim.experiment.rules import RULES
from evsim.learning.baselines.grid import SurrogateBPTT
from evsim.learning.rules import HM2BP, STLLR, STRSBP, TSSLBP, EventProp, RateBased, ottt
from helpers.paths import DOCS

NAMES = {"HM2BP": HM2BP, "STRSBP": STRSBP, "TSSLBP": TSSLBP, "RateBased": RateBased, "STLLR": STLLR, "ottt": ottt,
         "EventProp": EventProp, "SurrogateBPTT": SurrogateBPTT}  # fmt: skip
TABLE = re.findall(
    r"^\| `\"(\w+)\"` \|[^|]+\|[^|]+\|[^|]+\| ([^|]+) \|$", (DOCS / "losses.md").read_text(encoding="utf-8"), re.M
)


def test_every_spiking_rule_is_known_here():
    assert set(NAMES.values()) == {entry.make for name, entry in RULES.items() if name not in ("ann", "linear")}


@pytest.mark.parametrize(("signal", "rules"), TABLE)
def test_the_table_of_signals_names_the_rules_that_start_from_each(signal, rules):
    of_signal = {name for name, make in NAMES.items() if signal in make().signals}
    named = set(re.findall(r"`(\w+)`", rules.split(";")[0]))
    assert named == of_signal


def test_the_table_has_every_signal():
    assert {signal for signal, _ in TABLE} == {"counts", "times", "values", "moments", "psc"}
