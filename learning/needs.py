"""What each rule takes of a layer: declared by the rule as `Needs`, held to in one place, `check_layer`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.errors import GradientError
from evsim.learning.layers.analog import Analog
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Dense, Layer, Recurrent
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout

DELAYS = ("one", "input", "synapse")
"""Fixed delays, from the coarsest: one of a layer, one per sending neuron, one per synapse."""


@dataclass(frozen=True)
class Needs:
    """What a rule can train; the defaults are everything but maps, constant input and values at many
    instants.

    recurrent, lateral, analog : Recurrent layers; lateral inhibition; Analog layers
    maps : convolutions and pools
    features, moments : features of a Readout as the last layer, without and with ``every``
    delays, readout_delays : the finest fixed delays, of ``DELAYS``, of a spiking layer and of a Readout
    equal_delays : which layers need delays that are all equal: "readout", and "hidden", the ones that hand a signal on
    trained_delays : is there a gradient by delays?
    currents : numbers of exponential synaptic currents; 0: delta synapses
    parameters : is there a gradient by the neurons' parameters (``Dense.trainable``)?
    refractory_input : may input that arrives in the refractory time be kept?
    one_t_ref : must all neurons have the same refractory time?
    above_rest : must thresholds lie above v_rest + bias?
    square : must Recurrent layers have as many inputs as neurons?
    """

    recurrent: bool = True
    maps: bool = False
    lateral: bool = True
    analog: bool = False
    features: tuple[str, ...] = ("integral", "max")
    moments: tuple[str, ...] = ()
    delays: str = "synapse"
    readout_delays: str = "input"
    equal_delays: tuple[str, ...] = ()
    trained_delays: bool = True
    currents: tuple[int, ...] = (0, 1, 2)
    parameters: bool = True
    refractory_input: bool = True
    one_t_ref: bool = False
    above_rest: bool = False
    square: bool = False


def check_layers(rule: Any, model: Any) -> None:
    """``check_layer`` of all layers of a model, before anything is computed."""
    for k, layer in enumerate(model.layers):
        check_layer(rule, layer, k > 0, f"layer {k}, ")


def check_layer(rule: Any, layer: Layer, hands_on: bool = True, place: str = "") -> None:
    """Can a rule train a layer? One that declares no ``needs`` is taken to train all of them.

    hands_on : is there a layer below that gets its signal through this one?; place : of the layer, for the message

    Raises GradientError : no; the message names what stands in the way and the remedy.
    """
    needs = getattr(rule, "needs", None)
    if isinstance(needs, Needs) and (obstacle := next(obstacles(needs, layer, hands_on), None)) is not None:
        raise GradientError(f"{type(rule).__name__} cannot train {place}{layer.describe()}: {obstacle}.")


def obstacles(needs: Needs, layer: Layer, hands_on: bool = True) -> Iterator[str]:
    """What of a layer a rule cannot take, each with its remedy."""
    if isinstance(layer, Readout):
        yield from _of_readout(needs, layer)
    elif isinstance(layer, Analog):
        if not needs.analog:
            yield "it has no spikes at its input; encode the values as spikes, or train with TSSLBP"
    elif isinstance(layer, MapLayer | SumPool2d):
        if not needs.maps:
            yield "the rule is not for convolutions and pools yet; train with EventProp or HM2BP"
        if isinstance(layer, MapLayer):
            yield from _of_spiking(needs, layer)
    elif isinstance(layer, Dense):
        yield from _of_dense(needs, layer)
    else:
        yield "it is no Dense, Recurrent, Conv2d, Analog or Readout layer, and no pool; take one of these"
        return
    blocks = [layer.delays, *([layer.recurrent_delays] if isinstance(layer, Recurrent) else [])]
    if not needs.trained_delays and any(d.trained for d in blocks):
        yield "the rule has no gradient by delays; give fixed ones, or train with EventProp"
    finest = needs.readout_delays if isinstance(layer, Readout) else needs.delays
    if any(d.value().ndim > DELAYS.index(finest) for d in blocks):
        said = {"one": "one number", "input": "one number, or one per sending neuron"}[finest]
        yield f"its delays must be {said}; give such delays, or train with EventProp"
    role = "readout" if isinstance(layer, Readout) else "hidden" if hands_on else "first"
    if role in needs.equal_delays and np.ptp(layer.delays.value()) > 0.0:
        yield "a signal passes only layers whose delays are all equal; let those of a first layer differ, or none"
    if not needs.parameters and layer.trainable:
        name = layer.trainable[0]
        yield f"the rule has no gradient {name!r}, which the layer trains; leave trainable out, or train with EventProp"


def _of_readout(needs: Needs, layer: Readout) -> Iterator[str]:
    if layer.every is not None:
        if not needs.moments:
            yield "the rule is not for a Readout with every; leave every out, or train with EventProp or STLLR"
        elif layer.feature not in needs.moments:
            yield (
                f"the rule has no gradient of its {layer.feature} in windows; give it the feature "
                f"{' or '.join(needs.moments)}, or train with STLLR"
            )
    elif layer.feature not in needs.features:
        yield (
            f"the rule follows a Readout's {' or '.join(needs.features)}, not its {layer.feature}; give the Readout "
            f'feature = "{needs.features[0]}" (the loss {needs.features[0]}-voltage), or train with EventProp'
        )


def _of_dense(needs: Needs, layer: Dense) -> Iterator[str]:
    if isinstance(layer, Recurrent) and not needs.recurrent:
        yield "the rule takes no recurrent synapses; take a Dense layer, or train with EventProp or STRSBP"
    if layer.lateral_inhibition > 0 and not needs.lateral:
        yield "the rule takes no lateral inhibition; set it to 0, or train with EventProp, HM2BP or STRSBP"
    yield from _of_spiking(needs, layer)
    if needs.square and isinstance(layer, Recurrent) and layer.n_in != layer.n_out:
        yield f"this credit needs as many inputs as neurons, here {layer.n_in} and {layer.n_out}; take another credit"


def _of_spiking(needs: Needs, layer: Dense | MapLayer) -> Iterator[str]:
    taus = layer.neuron.receptor_taus()
    if len(taus) not in needs.currents:
        said = {0: "delta synapses", 1: "one exponential current", 2: "two exponential currents"}
        wanted = " or ".join(said[n] for n in needs.currents)
        yield f"its tau_syn is {layer.neuron.tau_syn!r}, the rule is for {wanted}; change it, or train with EventProp"
    if not needs.refractory_input and _keeps_input(layer):
        yield "input that arrives in the refractory time is kept, which the rule does not follow; set t_ref to 0"
    if needs.one_t_ref and np.ndim(layer.neuron.t_ref):
        yield "its neurons have different t_ref; give one number"
    if needs.above_rest and np.any(layer.theta <= 0):
        yield f"v_th must lie > 0 above v_rest + bias; it is {layer.theta.min()} above; raise the threshold v_th"


def _keeps_input(layer: Dense | MapLayer) -> bool:
    p = layer.neurons()
    return bool(np.any(p.keep_input) and np.any(p.t_ref > 0))


def takes(needs: Needs) -> dict[str, bool]:
    """The row of a rule in a table of what the rules take."""
    return {
        "recurrent": needs.recurrent,
        "maps": needs.maps,
        "lateral": needs.lateral,
        "analog": needs.analog,
        "delta": 0 in needs.currents,
        "two currents": 2 in needs.currents,
        "delay/input": needs.delays != "one",
        "delay/synapse": needs.delays == "synapse",
        "trained delays": needs.trained_delays,
        "trained neurons": needs.parameters,
        "readout max": "max" in needs.features,
        "readout integral": "integral" in needs.features,
        "readout at moments": bool(needs.moments),
    }
