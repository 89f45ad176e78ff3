"""What a person needs who tests a simulator or a learning rule: generated networks, a 50-digit replay, derivatives.

Needs hypothesis and mpmath (``pip install hypothesis mpmath``). A property of a gradient of your own::

    @given(description=small_networks(receptors=1))
    def test_my_gradient(description):
        replay = replay_network(*description.arguments())
        assume(clear_of_grazing(replay, 1e-6))
        net, inputs = description.network()
        recording = net.simulate(description.t_stop, inputs=inputs, driver="queue")
        pull = np.arange(1.0, len(replay) + 1.0)  # dL/dt of each spike, by (time, neuron)
        wanted = gradient(description, pull, ["weight"])["weight"]
        np.testing.assert_allclose(my_gradient(recording, pull), wanted, rtol=1e-9)

Where a tie has no derivative `SpikesChanged` is raised; let hypothesis pass over such cases by ``assume(False)``.
"""

from __future__ import annotations

import importlib
from typing import Any

from evsim.testing.derivatives import KINDS as KINDS
from evsim.testing.derivatives import Direction as Direction
from evsim.testing.derivatives import gradient as gradient
from evsim.testing.derivatives import jacobian as jacobian
from evsim.testing.derivatives import random_direction as random_direction
from evsim.testing.derivatives import spike_time_derivatives as spike_time_derivatives
from evsim.testing.derivatives import unit_direction as unit_direction
from evsim.testing.derivatives import untied as untied
from evsim.testing.follow import SpikesChanged as SpikesChanged
from evsim.testing.oracle import replay_network as replay_network
from evsim.testing.oracle import replay_neuron as replay_neuron
from evsim.testing.strategies import NetworkDescription as NetworkDescription
from evsim.testing.strategies import clear_of_grazing as clear_of_grazing
from evsim.testing.strategies import lif_parameters as lif_parameters
from evsim.testing.strategies import small_networks as small_networks
from evsim.testing.strategies import spike_trains as spike_trains
from evsim.testing.tangent import tangent as tangent

_OF_RULES = ("SmallModel", "assert_gradient", "small_models")


def __getattr__(name: str) -> Any:
    """The properties of learning rules, which stand with the rules: loaded where they are asked for."""
    if name in _OF_RULES:
        return getattr(importlib.import_module("evsim.learning.checks.properties"), name)
    raise AttributeError(f"module 'evsim.testing' has no attribute {name!r}")
