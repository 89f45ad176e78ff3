"""check_gradient(..., reference="mean"): a rule beside the gradient of the mean loss, and its verdicts."""

import numpy as np
import pytest
from click.testing import CliRunner

from evsim import LIF, encode
from evsim.cli.main import main
from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    CountLoss,
    Dense,
    EventProp,
    RateBased,
    Readout,
    Sequential,
    VoltageCrossEntropy,
    check_gradient,
)
from evsim.learning.baselines.grid import SurrogateBPTT
from evsim.learning.checks.mean_gradient import MeanAgreement
from evsim.learning.checks.mean_report import MeanReport, row_verdict

T = 50.0
LIF1 = LIF(tau_m=20.0, tau_syn=5.0)
RATES = np.linspace(30.0, 120.0, 4)


def draw(numbers):
    spikes = encode.poisson(np.tile(RATES, (numbers.size, 1)), T, seed=1, keys=numbers)
    return spikes, np.zeros(numbers.size, int)


def network(readout=True):
    last = Readout(5, 3, LIF1, feature="integral") if readout else Dense(5, 3, LIF1)
    model = Sequential(Dense(4, 5, LIF1), last)
    model.init(1, scale=[0.8, 0.5], mean=[0.7, 0.0 if readout else 1.5])
    return model


def mean_check(rule, model=None, loss=None, most_draws=800):
    return check_gradient(
        model or network(), rule, loss or VoltageCrossEntropy(scale=0.2), None, None, T, reference="mean", draw=draw,
        precision=0.1, most_draws=most_draws, draws_a_block=25,
    )  # fmt: skip


def test_eventprop_is_short_of_the_mean_gradient_but_exact_above_the_last_spike():
    report = mean_check(EventProp())
    assert report.ok and [row.layer for row in report.rows] == [0, 1, -1]
    assert report.rows[0].norm_ratio < 1.0 - 4.0 * report.rows[0].norm_ratio_error
    assert row_verdict(report.rows[1]) == "agrees"
    assert "the gradient of the mean loss" in report.verdict and "pathwise" not in report.verdict
    table = report.asdicts()
    assert {row["reference"] for row in table} == {"mean"} and table[0]["draws"] == report.draws


@pytest.mark.parametrize("rule", [RateBased(), SurrogateBPTT(dt=1.0)])
def test_rules_are_held_beside_the_same_reference(rule):
    report = mean_check(rule, most_draws=200)
    assert report.ok and report.cosine > 0.3 and report.true_loss == "VoltageCrossEntropy"


def test_a_loss_of_counts_has_a_mean_gradient_of_its_own():
    report = mean_check(HM2BP(), network(readout=False), CountLoss(4.0, 1.0, margin=0.0), most_draws=400)
    assert report.true_loss == "CountLoss" and report.ok


def test_the_surrogate_baseline_is_compared_with_the_given_inputs_too():
    inputs, labels = draw(np.arange(3))
    report = check_gradient(
        network(), SurrogateBPTT(dt=0.5), VoltageCrossEntropy(scale=0.2), inputs, labels, T, differences=3, replays=0
    )
    assert report.ok and not report.exact and report.cosine > 0.0
    # Of the Readout it is off by its time step alone.
    last = next(row for row in report.rows if row.layer == 1 and row.against == "EventProp")
    assert last.cosine > 0.98 and report.reference.startswith("the gradient of the given inputs")


def test_what_belongs_together_is_asked_for():
    inputs, labels = draw(np.arange(3))
    loss = VoltageCrossEntropy()
    for arguments, options in (
        ((None, None), {}), ((None, None), {"reference": "mean"}), ((inputs, labels), {"draw": draw}),
        ((inputs, labels), {"reference": "median"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="reference = 'mean' and draw"):
            check_gradient(network(), EventProp(), loss, *arguments, T, **options)
    model = Sequential(Dense(4, 5, LIF1), Readout(5, 3, LIF1))
    with pytest.raises(GradientError, match="cannot train layer 1, Readout"):
        check_gradient(model, HM2BP(), loss, inputs, labels, T)


def test_verdicts_in_a_word():
    def row(cosine, error, ratio=1.0, ratio_error=0.01):
        return MeanAgreement(0, 10, cosine, error, ratio, ratio_error)

    assert row_verdict(row(0.99, 0.01)) == "agrees"
    assert row_verdict(row(0.99, 0.2)) == "descends"
    assert row_verdict(row(0.99, 0.01, 0.5)) == "descends"
    assert row_verdict(row(-0.3, 0.1)) == "ascends"
    assert row_verdict(row(0.1, 0.1)) == "unclear"
    assert row_verdict(row(np.nan, np.nan)) == "hidden"
    hidden = MeanReport([row(np.nan, np.nan)], 100, np.inf, "CountLoss")
    assert not hidden.ok and hidden.verdict.startswith("UNTESTED")


def run(*arguments):
    return CliRunner().invoke(main, ["gradcheck", *map(str, arguments)])


@pytest.mark.parametrize("rule", ["eventprop", "surrogate-bptt"])
def test_from_the_command_line(tmp_path, rule):
    result = run("--reference", "mean", "--rule", rule, "--hidden", 5, "--draws", 64, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "mean loss" in result.output and "Poisson" in result.output
    rows = (tmp_path / "out" / "gradcheck.csv").read_text().splitlines()
    assert rows[0] == ("layer,n,cosine,cosine_error,norm_ratio,norm_ratio_error,verdict,reference,draws,"
                       "reference_noise") and len(rows) == 4  # fmt: skip
    assert rows[-1].startswith("-1,")


def test_the_pathwise_table_names_its_reference_and_takes_the_surrogate_baseline():
    result = run("--dataset", "digits", "--rule", "surrogate-bptt", "--samples", 2, "--hidden", 8)
    assert result.exit_code == 0, result.output
    assert "given" in result.output and "EventProp" in result.output and "approximate: cosine" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rule", "ann"), "no network that spikes"),
        (("--rule", "linear", "--reference", "mean"), "no network that spikes"),
        (("--draws", 100), "only --reference mean"),
        (("--reference", "mean", "--dataset", "randman"), "spikes already"),
        (("--reference", "mean", "--draws", 4), "at least 8"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(arguments, words):
    result = run(*arguments)
    assert result.exit_code != 0 and words in " ".join(result.output.split())
