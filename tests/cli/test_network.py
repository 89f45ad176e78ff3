"""--network: the papers' notation of layers, on the command line, in comparisons and in saved runs."""

import json

import pytest
from click.testing import CliRunner

from evsim.cli.compare_file import read_comparison
from evsim.cli.main import main
from evsim.errors import InputError
from evsim.experiment.config import RunConfig, build, load_data, start
from evsim.experiment.notation import Part, parts_of
from evsim.learning import AvgPool2d, Conv2d, Dense, Recurrent, SpikingPool2d, SumPool2d

SMALL = ["train", "--dataset", "digits", "--train-size", "60", "--test-size", "20", "--threads", "1", "--rule", "hm2bp"]


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_the_notation_names_layers_with_stride_and_padding():
    assert parts_of("15C5-P2-40C3s2p1-A3-S2-300-20") == (
        Part("convolution", 15, 5), Part("spiking pool", 2), Part("convolution", 40, 3, 2, 1), Part("average pool", 3),
        Part("sum pool", 2), Part("dense", 300), Part("dense", 20),
    )  # fmt: skip
    assert parts_of("7C1p2")[0] == Part("convolution", 7, 1, 1, 2)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("15C5-M2", "'M2' is no layer"), ("15C5--P2", "'' is no layer"), ("", "'' is no layer"),
        ("15C", "'15C' is no layer"), ("15c5", "'15c5' is no layer"), ("0C3", "sizes of 0C3 must be >= 1"),
        ("3C3s0", "sizes of 3C3s0 must be >= 1"), ("P0", "must be >= 1"), ("300-15C5", "put them before"),
        ("20-P2", "put them before"), (" 20", "' 20' is no layer"),
    ],
)  # fmt: skip
def test_what_is_not_the_notation_is_refused(network, sentence):
    with pytest.raises(InputError, match=sentence):
        RunConfig(network=network)


def test_layers_are_built_from_the_grid_of_the_data():
    config = RunConfig(
        dataset="digits", train_size=20, test_size=5, network="3C3p1-P2-4C3s1-S2-A1-7", tau_m=20.0, tau_syn=5.0,
        delay=0.5, thresholds=(0.3, 0.2, 0.4, 0.5, 0.6), weight_scale=(1.0, 2.0, 3.0, 4.0), recurrent_scale=0.1,
        rule="eventprop", loss="ttfs",
    )  # fmt: skip
    model, _ = build(config, load_data(config))
    assert [type(layer) for layer in model.layers] == [
        Conv2d, SpikingPool2d, Conv2d, SumPool2d, AvgPool2d, Recurrent, Dense
    ]  # fmt: skip
    assert [layer.n_out for layer in model.layers] == [192, 48, 16, 4, 4, 7, 10]
    spiking = [layer for layer in model.layers if not isinstance(layer, SumPool2d)]
    assert [layer.neuron.v_th for layer in spiking] == [0.3, 0.2, 0.4, 0.5, 0.6]
    assert not start(config, model)
    assert [w.shape for w in model.weights] == [(3, 3, 1, 3), (3, 3, 3, 4), (4, 7), (7, 10)]
    for w, scale in zip(model.weights, (1.0, 2.0, 3.0, 4.0)):
        assert 0.5 < w.std() / scale < 1.5


def test_a_run_trains_resumes_and_is_evaluated(tmp_path):
    options = [*SMALL, "--network", "4C3p1-P2-12", "--out", tmp_path]
    assert "network 64-256-64-12-10" in run(*options, "--epochs", 2)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["options"]["network"] == "4C3p1-P2-12" and summary["synaptic_events"] > 0
    assert "resuming" in run(*options, "--epochs", 2, "--resume")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert f"{100 * summary['test_accuracy']:.2f} %" in run("evaluate", tmp_path)
    assert "other settings: network" in run(
        *SMALL, "--network", "4C3p1-P2-13", "--out", tmp_path, "--epochs", 2, "--resume", code=1
    )


def test_a_comparison_takes_it(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text('[common]\ndataset = "digits"\n[[run]]\nrule = "hm2bp"\nnetwork = "4C3-S2-12"\n')
    ((_, _, config),) = read_comparison(path).runs
    assert config.network == "4C3-S2-12" and len(config.parts) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "yin-yang", "--network", "3C3"], "needs data on a grid of pixels"),
        (["--rule", "ann", "--network", "3C3"], "--network is not used by this run"),
        (["--rule", "s-tllr", "--network", "3C3"], "not for convolutions and pools yet"),
        (["--network", "3C9"], "larger than maps of 8 x 8"),
        (["--network", "3C3", "--bias-spike", "0"], "without a bias spike"),
        (["--network", "3C3", "--weight-scale", "1"], "for each of 2 layers"),
    ],
)
def test_networks_that_do_not_fit_are_refused(tmp_path, options, words):
    assert words in run(*SMALL, *options, "--out", tmp_path, code=1)
