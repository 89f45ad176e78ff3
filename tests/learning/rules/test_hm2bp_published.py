"""HM2-BP beside the updates that its authors published: their spikes in, their change of weights out.

The authors' own unit tests (public repository of Jin, Zhang and Li, NeurIPS 2018): spikes of a layer and of the layer
below it for one sample, and the weights before and after one update. They count time in steps of 1 ms and potentials
in a unit tau_m/tau_s = 8 times ours; their S-PSPs take arrivals 2 ms (t_ref) after the spikes.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evsim import LIF, SpikeTrains
from evsim.learning import HM2BP, Conv2d, CountLoss, Dense, SpikingPool2d
from evsim.spikes import SpikeBatch

pytestmark = pytest.mark.data

UNIT = 8.0
PROGRAM = HM2BP(silent_sources="all", pass_lateral=False, fake_step=1.0, psp_delay=2.0)
STEP_SIZE = 1e-5
"""Of the plain updates, per unit of gradient."""


@pytest.fixture
def golden(data_dir: Path) -> Path:
    folder = data_dir / "hm2bp-published" / "golden"
    if not folder.is_dir():
        pytest.skip("the published unit tests of HM2-BP are not below EVSIM_DATA")
    return folder


def published_spikes(path: Path, size: int) -> SpikeBatch:
    rows = np.loadtxt(path, dtype=np.int64, ndmin=2)
    rows = rows[rows[:, 0] >= 0]
    return SpikeBatch.from_trains([SpikeTrains(rows[:, 1].astype(np.float64), rows[:, 0], size)])


def published_weights(path: Path, n_in: int, n_out: int) -> np.ndarray:
    weight = np.full((n_in, n_out), np.nan)
    for line in path.read_text().splitlines():
        _, source, target, value = line.split()
        weight[int(source.rsplit("_", 1)[1]), int(target.rsplit("_", 1)[1])] = float(value)
    assert np.isfinite(weight).all()
    return weight


def layer_of(weight: np.ndarray, threshold: float, lateral_inhibition: float = 0.0) -> Dense:
    neuron = LIF(tau_m=64.0, tau_syn=8.0, v_th=threshold / UNIT, t_ref=2.0)
    layer = Dense(*weight.shape, neuron, delay=1.0, lateral_inhibition=lateral_inhibition)
    layer.weight = weight
    return layer


def weights_and_change(folder: Path, name: str, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    before = published_weights(folder / f"{name}_weights_before.txt", n_in, n_out)
    return before, published_weights(folder / f"{name}_weights_after.txt", n_in, n_out) - before


def slope(change: np.ndarray, gradient: np.ndarray) -> float:
    """Of the change by the negative gradient, by least squares."""
    return float(-np.sum(change * gradient) / np.sum(gradient**2))


def correlation(change: np.ndarray, gradient: np.ndarray) -> float:
    return float(np.corrcoef(change.ravel(), -gradient.ravel())[0, 1])


def regulariser(weight: np.ndarray, beta: float) -> np.ndarray:
    """Of strength 10 and limit 8."""
    share = weight / 8.0
    return 10.0 * beta * share * np.exp(beta * (np.mean(share**2, axis=0) - 1.0))


def test_output_layer_of_nmnist(golden: Path) -> None:
    folder = golden / "nmnist"
    inputs = published_spikes(folder / "hidden_spikes.dat", 400)
    outputs = published_spikes(folder / "output_spikes.dat", 10)
    before, change = weights_and_change(folder, "output", 400, 10)
    signal = CountLoss()(outputs, np.array([0]))[1]
    gradient = PROGRAM.backward(layer_of(before, 5.0), inputs, outputs, signal, 1544.0, is_output=True)[0]["weight"]
    assert correlation(change, gradient) > 0.9999
    assert slope(change, gradient) == pytest.approx(STEP_SIZE, rel=5e-3)
    wrong = np.flatnonzero(signal[0])
    assert wrong.tolist() == [0, 4, 5]
    assert all(correlation(change[:, k], gradient[:, k]) > 0.9999 for k in wrong)


def test_signs_of_adams_first_step_on_mnist(golden: Path) -> None:
    """Lateral inhibition and the weight regulariser (beta 0.04, lambda 10, limit 8) included."""
    folder = golden / "mnist"
    inputs = published_spikes(folder / "hidden_spikes.dat", 400)
    outputs = published_spikes(folder / "output_spikes.dat", 10)
    before, change = weights_and_change(folder, "output", 400, 10)
    signal = CountLoss()(outputs, np.array([5]))[1]
    layer = layer_of(before, 5.0, lateral_inhibition=1.0)
    gradient = PROGRAM.backward(layer, inputs, outputs, signal, 450.0, is_output=True)[0]["weight"]
    total = gradient + regulariser(before, 0.04)
    assert np.count_nonzero(change) == change.size == 4000
    assert np.array_equal(np.sign(change), -np.sign(total))
    assert np.mean(np.sign(change) == -np.sign(total - gradient)) < 0.96


def published_maps(folder: Path, name: str, channels: int, side: int) -> SpikeBatch:
    """Spikes of a layer of maps, written as maps of 0 and 1 in every step."""
    with gzip.open(folder / f"{name}_spikes.dat.gz", "rt") as file:
        channel, step, place = np.nonzero(np.loadtxt(file).reshape(channels, 450, side**2))
    neurons = channel * side**2 + place
    return SpikeBatch.from_trains([SpikeTrains(step.astype(np.float64), neurons, channels * side**2)])


def kernel_and_change(folder: Path, name: str, c_out: int, c_in: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = (
        np.array((folder / f"{name}_weights_{when}.txt").read_text().split(), dtype=np.float64)
        .reshape(c_out, c_in, 5, 5).transpose(2, 3, 1, 0)
        for when in ("before", "after")
    )  # fmt: skip
    return before, after - before


def signal_at_pool2(folder: Path) -> np.ndarray:
    """dE/d count of the second pool, through both dense layers."""
    hidden, pooled = published_spikes(folder / "hidden_spikes.dat", 100), published_maps(folder, "pool2", 3, 4)
    outputs = published_spikes(folder / "output_spikes.dat", 10)
    before, _ = weights_and_change(folder, "output", 100, 10)
    signal = CountLoss()(outputs, np.array([5]))[1]
    _, signal = PROGRAM.backward(
        layer_of(before, 5.0, lateral_inhibition=1.0), hidden, outputs, signal, 450.0, is_output=True
    )
    before, _ = weights_and_change(folder, "hidden", 48, 100)
    return PROGRAM.backward(layer_of(before, 10.0), pooled, hidden, signal, 450.0)[1]


def test_signs_of_adams_first_step_in_the_convolutions(golden: Path) -> None:
    """Six layers in a row. Spiking pools divide by k^2 = 4 where their threshold would follow, which is 4 here.

    All signs agree: of the 375 weights of the second convolution with the regulariser of the dense layers, and of the
    125 of the first, which outweigh it.
    """
    folder = golden / "cnn_mnist"
    spikes = {name: published_maps(folder, name, *shape) for name, shape in
              (("conv1", (5, 24)), ("pool1", (5, 12)), ("conv2", (3, 8)), ("pool2", (3, 4)))}  # fmt: skip
    neuron = LIF(tau_m=64.0, tau_syn=8.0, v_th=4.0 / UNIT, t_ref=2.0)
    signal = signal_at_pool2(folder)
    _, signal = PROGRAM.backward(
        SpikingPool2d((3, 8, 8), 2, neuron, delay=1.0), spikes["conv2"], spikes["pool2"], signal, 450.0
    )
    conv = Conv2d((5, 12, 12), 3, 5, neuron.with_(v_th=5.0 / UNIT), delay=1.0)
    conv.weight, change = kernel_and_change(folder, "conv2", 3, 5)
    found, signal = PROGRAM.backward(conv, spikes["pool1"], spikes["conv2"], signal, 450.0)
    penalty = regulariser(conv.weight.reshape(-1, 3), 0.4).reshape(conv.weight.shape)
    assert np.count_nonzero(change) == 375
    assert np.array_equal(np.sign(change), -np.sign(found["weight"] + penalty))
    assert np.mean(np.sign(change) == -np.sign(found["weight"])) < 0.97
    _, signal = PROGRAM.backward(
        SpikingPool2d((5, 24, 24), 2, neuron, delay=1.0), spikes["conv1"], spikes["pool1"], signal, 450.0
    )
    conv = Conv2d((1, 28, 28), 5, 5, neuron.with_(v_th=5.0 / UNIT), delay=1.0)
    conv.weight, change = kernel_and_change(folder, "conv1", 5, 1)
    inputs = published_spikes(folder / "input_spikes.dat", 784)
    found, _ = PROGRAM.backward(conv, inputs, spikes["conv1"], signal, 450.0)
    assert np.count_nonzero(change) == 125
    assert np.array_equal(np.sign(change), -np.sign(found["weight"]))


def test_signs_of_adams_first_step_in_the_dense_layers_of_a_convolutional_network(golden: Path) -> None:
    """Two layers in a row; no output neuron spikes, so that the wanted one's train is made up (beta 0.4)."""
    folder = golden / "cnn_mnist"
    pooled = published_maps(folder, "pool2", 3, 4)
    hidden = published_spikes(folder / "hidden_spikes.dat", 100)
    outputs = published_spikes(folder / "output_spikes.dat", 10)
    assert outputs.times.size == 0
    before, change = weights_and_change(folder, "output", 100, 10)
    signal = CountLoss()(outputs, np.array([5]))[1]
    layer = layer_of(before, 5.0, lateral_inhibition=1.0)
    found, signal = PROGRAM.backward(layer, hidden, outputs, signal, 450.0, is_output=True)
    assert np.array_equal(np.sign(change), -np.sign(found["weight"] + regulariser(before, 0.4)))
    before, change = weights_and_change(folder, "hidden", 48, 100)
    agreement = {}
    for silent_sources in ("all", "active"):
        rule = replace(PROGRAM, silent_sources=silent_sources)
        gradient = rule.backward(layer_of(before, 10.0), pooled, hidden, signal, 450.0)[0]["weight"]
        agreement[silent_sources] = np.mean(np.sign(change) == -np.sign(gradient + regulariser(before, 0.4)))
    assert agreement["all"] == 1.0 and agreement["active"] < 0.999


@pytest.fixture
def ti_alpha(golden: Path) -> dict[str, object]:
    folder = golden / "ti_alpha"
    outputs = published_spikes(folder / "output_spikes.dat", 26)
    before, change = weights_and_change(folder, "output", 64, 26)
    return {
        "folder": folder, "outputs": outputs, "before": before, "change": change,
        "hidden": published_spikes(folder / "hidden_spikes.dat", 64),
        "signal": CountLoss()(outputs, np.array([0]))[1],
    }  # fmt: skip


def output_gradient(case, **switches):
    layer = layer_of(case["before"], 5.0)
    return replace(PROGRAM, **switches).backward(
        layer, case["hidden"], case["outputs"], case["signal"], 658.0, is_output=True
    )[0]["weight"]


def test_output_layer_of_speech(ti_alpha) -> None:
    """With the fake train of a silent target as in the program; without the micro factor the agreement is lost."""
    gradient = output_gradient(ti_alpha)
    assert correlation(ti_alpha["change"], gradient) > 0.99999
    assert slope(ti_alpha["change"], gradient) == pytest.approx(STEP_SIZE, rel=1e-4)
    assert 0.9995 < correlation(ti_alpha["change"], output_gradient(ti_alpha, fake_step=0.0)) < 0.9999
    assert correlation(ti_alpha["change"], output_gradient(ti_alpha, micro="none")) < 0.97


def hidden_case(case, silent_sources):
    """The published run passes errors back by the weights alone, without the ratio e/o."""
    before, change = weights_and_change(case["folder"], "hidden", 135, 64)
    reservoir = published_spikes(case["folder"] / "reservoir_spikes.dat", 135)
    passed = (case["signal"] / (5.0 / UNIT)) @ case["before"].T / UNIT
    rule = replace(PROGRAM, silent_sources=silent_sources)
    gradient = rule.backward(layer_of(before, 20.0), reservoir, case["hidden"], passed, 700.0)[0]["weight"]
    return before, change, gradient


def test_hidden_layer_of_speech(ti_alpha) -> None:
    _, change, gradient = hidden_case(ti_alpha, "all")
    fired = ti_alpha["hidden"].counts()[0] > 0
    assert 0 < fired.sum() < fired.size
    assert correlation(change[:, fired], gradient[:, fired]) > 0.99998
    assert slope(change[:, fired], gradient[:, fired]) == pytest.approx(STEP_SIZE, rel=1e-3)


def test_silent_hidden_neurons_of_speech_sum_over_all_sources(ti_alpha) -> None:
    """Weights are printed with six digits, so that only small ones show an update of some 1e-7."""
    fired = ti_alpha["hidden"].counts()[0] > 0
    errors = {}
    for silent_sources in ("all", "active"):
        before, change, gradient = hidden_case(ti_alpha, silent_sources)
        shown = (np.abs(before) < 1e-3) & (gradient != 0.0) & ~fired
        assert shown.sum() >= 6
        last_digit = 10.0 ** (np.floor(np.log10(np.abs(before[shown]))) - 5.0)
        errors[silent_sources] = np.abs(change + STEP_SIZE * gradient)[shown] / last_digit
    # Both weights are rounded, and the program counts in float32.
    assert errors["all"].max() < 1.2
    assert errors["active"].max() > 100.0
