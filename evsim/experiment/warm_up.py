"""Small pieces of everything that evsim does, so that every kernel is compiled and lies in the kernel cache."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from evsim.description.plasticity import STDP
from evsim.engine.simulation import Simulation
from evsim.errors import InputError, SilentLayerError
from evsim.experiment.config import RunConfig
from evsim.experiment.gradient_check import check_reference, with_given_input
from evsim.experiment.losses import LOSSES
from evsim.experiment.network_run import tiny
from evsim.experiment.presets import settings
from evsim.experiment.published import PUBLICATIONS
from evsim.experiment.rules import RULES
from evsim.experiment.training_run import prepare
from evsim.network import Network
from evsim.networks.literature import PRESETS, preset
from evsim.neurons.lif import LIF
from evsim.ranks.threads import over_thread_ranks
from evsim.spikes import SpikeTrains
from evsim.versions import package_versions

Piece = Callable[[], object]

_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"recurrent_scale": 0.1},
    {"trainable_delays": "input"},
    {"trainable_delays": "synapse"},
    {"trainable": ("v_th", "tau_m", "tau_syn", "bias")},
    {"lateral_inhibition": 0.5},
    {"delay": 1.0, "hidden": (5, 5)},
    {"network": "3C3-S2-P2"},
    {"encoder": "analog"},
    {"updates": "within", "loss": "momentary-integral"},
    {"hidden_dropout": 0.2, "bump": 1e-3, "count_regularisation": 1e-3, "silent_voltage": 1e-3, "boosting": 1.0},
    {"optimiser": "sgd", "shift": 1.0, "turn": 5.0, "zoom": 0.1},
)
"""Of a training run, beside its rule and loss."""


_LOSSES: dict[str, dict[str, Any]] = {
    "psc-count": {"loss_options": {"tau": 10.0}},
    "target-times": {"loss_options": {"correct": 10.0, "wrong": 20.0}},
    "psc-trains": {"dataset": "spike-patterns"},
    "van-rossum": {"dataset": "spike-patterns"},
}
"""What a loss needs besides its name."""


def pieces() -> Iterator[tuple[str, list[Piece]]]:
    """What is done, part by part: a name, and what is to be called."""
    yield "networks", list(_networks())
    for rule in RULES:
        yield f"rule {rule}", list(_training(rule))


def do(piece: Piece) -> None:
    """Do it; combinations that evsim refuses are not wanted."""
    with warnings.catch_warnings(), suppress(InputError, SilentLayerError):
        warnings.simplefilter("ignore")
        piece()


def _networks() -> Iterator[Piece]:
    yield package_versions
    declared = [tiny(preset(name, 0.1, 1)) for name in PRESETS]
    declared += [_network(receptors, own) for receptors in (None, 5.0, (2.0, 8.0)) for own in (False, True)]
    for network in declared:
        for driver in ("queue", "window"):
            yield partial(_simulate, network, driver)
        yield partial(over_thread_ranks, 2, partial(_advance, network, "window"))
    for receptors in (None, 5.0, (2.0, 8.0)):
        yield partial(_simulate, _feed_forward(receptors), "sweep")


def _simulate(network: Network, driver: str) -> None:
    given = {name: _spikes(size) for name, size in network.inputs.items()}
    recording = network.simulate(20.0, given, driver=driver, threads=2)
    if driver != "sweep":
        _advance(network, driver, None)
    recording.voltage(next(iter(network.populations)), [0, 1], np.linspace(0.0, 20.0, 5))


def _advance(network: Network, driver: str, comm: Any) -> None:
    """In two pieces, the second from a saved state."""
    given = {name: _spikes(size) for name, size in network.inputs.items()}
    simulation = Simulation(network, driver=driver, threads=1, comm=comm)
    simulation.advance(10.3, given)
    Simulation(network, driver=driver, threads=1, state=simulation.state(), comm=comm).advance(5.0)


def _spikes(size: int) -> SpikeTrains:
    return SpikeTrains(np.linspace(0.5, 8.0, 2 * size), np.arange(2 * size) % size, size)


def _network(tau_syn: Any, own: bool) -> Network:
    """Recurrent, with an input; own : weights and delays by synapse, else plastic."""
    net = Network(inputs={"in": 5})
    net.add_population("a", 70, LIF(tau_syn=tau_syn, bias=np.linspace(0.5, 1.3, 70)))
    if own:
        delays = np.linspace(0.5, 3.0, 350).reshape(5, 70)
        net.connect("in", "a", weight=np.linspace(0.1, 0.5, 350).reshape(5, 70), delay=delays)
        net.connect("a", "a", weight=-0.01, delay=np.linspace(0.5, 3.0, 4900).reshape(70, 70))
    else:
        net.connect("in", "a", weight=0.3, delay=1.0, plasticity=STDP(a_plus=0.01, a_minus=0.01, w_max=1.0))
        net.connect("a", "a", weight=-0.01, delay=1.0)
    return net


def _feed_forward(tau_syn: Any) -> Network:
    net = Network(inputs={"in": 5})
    net.add_population("a", 20, LIF(tau_syn=tau_syn))
    net.add_population("b", 5, LIF(tau_syn=tau_syn))
    net.connect("in", "a", weight=np.linspace(-0.2, 1.0, 100).reshape(5, 20), delay=1.0)
    net.connect("a", "b", weight=0.3)
    return net


def _training(rule: str) -> Iterator[Piece]:
    for published in (False, True) if rule in PUBLICATIONS else (False,):
        for variant in _VARIANTS:
            yield partial(_train, rule, published, variant)
    for loss in LOSSES:
        variant = {"loss": loss, **_LOSSES.get(loss, {})}
        yield partial(_train, rule, False, variant)
        yield partial(_train, rule, False, {**variant, "recurrent_scale": 0.1})
    yield partial(_compare, _config(rule, False, {}))


def _train(rule: str, published: bool, variant: dict[str, Any]) -> None:
    run = prepare(_config(rule, published, variant))
    run.load_kernels()
    run.trainer.load(run.trainer.state())


def _compare(config: RunConfig) -> None:
    check_reference(config, mean=False)
    with_given_input(config, 2)


def _config(rule: str, published: bool, variant: dict[str, Any]) -> RunConfig:
    few = {"train_size": 12, "test_size": 4, "hidden": (5,), "validation": 0, "threads": 2, "batch_size": 6}
    wanted = settings(variant.get("dataset", "digits"), rule, {**few, **variant}, published)
    for name in ("weight_scale", "weight_mean", "thresholds"):
        if wanted.get(name) and len(wanted[name]) != len(wanted["hidden"]) + 1:
            wanted[name] = ()
    return RunConfig(**wanted)
