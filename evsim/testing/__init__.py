"""What a person needs who tests a simulator or a learning rule: generated networks, a 50-digit replay, derivatives.

Needs hypothesis and mpmath (``pip install evsim[testing]``).
"""

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
