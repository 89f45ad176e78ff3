"""check_gradient: its verdict, the entries that it compares, and what it does without mpmath and hypothesis."""

import re
import subprocess
import sys

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    TSSLBP,
    CountLoss,
    CustomLoss,
    Dense,
    EventProp,
    Recurrent,
    Sequential,
    TTFSLoss,
    check_gradient,
)
from evsim.learning.checks.agreement import LIMITS, GradientReport, agreement_of
from evsim.learning.checks.gradcheck import telling_entries
from evsim.learning.checks.properties import weighted_times
from evsim.testing import assert_gradient
from helpers.paths import ROOT

T = 60.0
LABELS = np.array([0, 1, 2])


def model(kind=Dense, **options):
    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    m = Sequential(Dense(4, 6, neuron), kind(6, 3, neuron, **options))
    for k, (layer, scale) in enumerate(zip(m.layers, (1.0, 0.5))):
        layer.init(np.random.default_rng([1, k]), scale, 3.0)
    return m


def batch():
    rng = np.random.default_rng(0)
    return SpikeBatch.from_trains([SpikeTrains(rng.uniform(1.0, 20.0, 4), np.arange(4), 4) for _ in range(3)])


def report_of(rule, m=None, **options):
    options = {"differences": 4, "replays": 0, **options}
    return check_gradient(m or model(), rule, TTFSLoss(), batch(), LABELS, T, **options)


class Off(EventProp):
    """EventProp, wrong by a part in 1e8."""

    def backward(self, *args, **switches):
        gradients, signal = super().backward(*args, **switches)
        return {name: g * (1.0 + 1e-8) for name, g in gradients.items()}, signal


class Opposite(EventProp):
    exact = False

    def backward(self, *args, **switches):
        gradients, signal = super().backward(*args, **switches)
        return {name: -g for name, g in gradients.items()}, signal


class Nothing(EventProp):
    def backward(self, *args, **switches):
        gradients, signal = super().backward(*args, **switches)
        return {name: 0.0 * g for name, g in gradients.items()}, signal


def test_an_exact_rule_is_called_exact():
    report = report_of(EventProp(), replays=2)
    assert report.ok and report.exact and report.notes == () and report.verdict.startswith("exact")
    assert {row.against for row in report.rows} == set(LIMITS)
    assert all(row.verdict(True) == "exact" for row in report.rows)
    assert report_of(TSSLBP(inter="true", intra="exact", silent="none", max_gain=np.inf)).ok


def test_a_small_error_of_a_rule_that_claims_to_be_exact_is_seen():
    report = report_of(Off())
    assert not report.ok and re.search(r"WRONG: 2 of 4 rows .* against EventProp, 1\.0e-08", report.verdict)
    assert report_of(Off(), exact=False).ok


def test_eventprop_claims_exactness_only_where_its_least_slope_changes_nothing():
    gentle = report_of(EventProp(min_slope=1e-3))
    assert gentle.exact and gentle.worst_conditioning < 1e3
    clipped = report_of(EventProp(min_slope=1.0))
    assert not clipped.exact and clipped.cosine < 1.0 - 1e-9 and clipped.ok


def test_an_approximate_rule_is_told_its_cosine():
    report = check_gradient(model(), HM2BP(), CountLoss(2.0, 0.0, 0.0), batch(), LABELS, T, differences=0, replays=0)
    assert not report.exact and report.ok and f"cosine {report.cosine:.3f}" in report.verdict
    assert {row.verdict(False) for row in report.rows} <= {"descends", "ascends"}
    against = report_of(Opposite())
    assert against.ok and against.cosine == pytest.approx(-1.0) and "raises" in against.verdict
    assert against.asdicts()[0]["verdict"] == "ascends"


def test_a_rule_that_gives_nothing_is_wrong_and_a_report_of_nothing_is_not_ok():
    assert not report_of(Nothing()).ok and "WRONG" in report_of(Nothing()).verdict
    assert not report_of(Nothing(), exact=False).ok
    zeros = agreement_of(0, "weight", "EventProp", np.zeros(3), np.zeros(3))
    for exact in (True, False):
        pairs = {(0, "weight"): (np.zeros(3), np.zeros(3))}
        untested = GradientReport([zeros], 1.0, "TTFSLoss", exact, (), pairs)
        assert not untested.ok and untested.verdict.startswith("UNTESTED")
        assert not GradientReport([], 1.0, "TTFSLoss", exact).ok


@pytest.mark.parametrize(
    ("start", "telling"),
    [
        (-1e2, {"EventProp", "FD 50 digits", "FD float64"}),
        (-1e6, {"EventProp", "FD 50 digits"}),
        (-1e9, {"EventProp", "FD 50 digits"}),
        (-1e20, {"EventProp"}),
        (-1e28, {"EventProp"}),
    ],
)
def test_gradients_below_the_rounding_of_what_they_are_compared_with_are_no_fault(start, telling):
    """From far below, the output neuron all but forgets what it was given before: derivatives go down to 1e-29."""
    neuron = LIF(tau_m=2.0, tau_syn=1.0, t_ref=500.0)
    m = Sequential(Dense(1, 1, neuron), Dense(1, 1, neuron.with_(bias=2.0, v_init=start)))
    m.layers[0].weight[:], m.layers[1].weight[:] = 8.0, 0.5
    fed = SpikeBatch.from_trains([SpikeTrains([1.0], [0], 1)])

    def report(rule):
        loss, label = CustomLoss(weighted_times), np.zeros(1, int)
        return check_gradient(m, rule, loss, fed, label, 300.0, differences=1, replays=1)

    def against(rule, verdict):
        return {row.against for row in report(rule).rows if row.layer == 0 and row.verdict(True) == verdict}

    assert report(EventProp()).ok
    assert against(EventProp(), "exact") == telling and not against(EventProp(), "WRONG")
    assert against(Nothing(), "WRONG") == telling and against(Off(), "WRONG") == telling - {"FD float64"}


def test_entries_are_chosen_where_a_difference_would_show():
    rng = np.random.default_rng(0)
    a, b = np.zeros(1000), np.zeros(1000)
    b[[3, 500, 700]] = 1.0, -5.0, 2.0
    a[[8, 9]] = 1.0
    assert set(telling_entries(a, b, 4, rng)) < {3, 500, 700, 8, 9}
    assert {500, 700} < set(telling_entries(a, b, 4, rng))
    assert set(telling_entries(a, b, 5, rng)) == {3, 500, 700, 8, 9}
    assert np.array_equal(telling_entries(a[:4], b[:4], 20, rng), np.arange(4))


@pytest.mark.parametrize("kind", [Dense, Recurrent])
@pytest.mark.parametrize("trained", ["input", "synapse"])
def test_delays_by_input_and_by_synapse_are_compared(kind, trained):
    m = model(kind, trainable_delays=trained, max_delay=4.0)
    report = report_of(EventProp(), m, replays=2)
    assert report.ok, report.verdict
    assert {"FD float64", "FD 50 digits"} < {row.against for row in report.rows if row.parameter == "delay"}


def test_senseless_settings_are_refused():
    for options in ({"differences": -1}, {"replays": 1.5}, {"step": 0.0}, {"step": np.nan}):
        with pytest.raises(ValueError, match=r"differences|replays|step"):
            report_of(EventProp(), **options)


def test_assert_gradient_holds_for_eventprop_and_fails_for_what_is_off():
    assert_gradient(EventProp(), examples=4)
    with pytest.raises(AssertionError, match=r"Off is not the true gradient\. WRONG"):
        assert_gradient(Off(), examples=4)
    with pytest.raises(GradientError, match="starts from counts"):
        assert_gradient(type("ByCounts", (), {"signals": ("counts",)})())


@pytest.mark.slow
def test_the_page_for_inventors_of_rules_runs_as_it_stands():
    page = (ROOT / "docs" / "rules" / "eventprop.md").read_text(encoding="utf-8")
    section = page.split("## Test a rule of your own")[1].split("\n## ")[0]
    names = {}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(block, names)
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == 3
    for name in tests:
        names[name]()


_BARE = """
import sys
for missing in ("mpmath", "hypothesis"):
    sys.modules[missing] = None
"""


def without_extras(code):
    """What Python prints for code where mpmath and hypothesis cannot be imported."""
    call = [sys.executable, "-c", _BARE + code]
    return subprocess.run(call, capture_output=True, text=True, timeout=600, check=False)


def test_the_block_on_training_of_the_guide_runs_in_a_plain_install():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (b for b in blocks if "check_gradient" in b)
    done = without_extras(block)
    assert done.returncode == 0, done.stderr
    assert "0 weight EventProp" in done.stdout and "exact: every row" in done.stdout and "50 digits" not in done.stdout


def test_gradcheck_runs_in_a_plain_install_and_says_what_it_left_out():
    done = without_extras("from evsim.cli.main import main\nmain(['gradcheck', '--hidden', '8', '--samples', '2'])")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip install mpmath hypothesis" in " ".join(done.stdout.split()) and "exact: every row" in done.stdout
