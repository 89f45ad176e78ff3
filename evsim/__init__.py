"""Exact, lossless, event-driven simulation of spiking networks, and learning from the spike times."""

from evsim import encode as encode
from evsim._lazy import loaded as __getattr__
from evsim.description.connectivity import AllToAll as AllToAll
from evsim.description.connectivity import Bernoulli as Bernoulli
from evsim.description.connectivity import FixedIndegree as FixedIndegree
from evsim.description.connectivity import FixedOutdegree as FixedOutdegree
from evsim.description.connectivity import FixedTotalNumber as FixedTotalNumber
from evsim.description.connectivity import OneToOne as OneToOne
from evsim.description.plasticity import STDP as STDP
from evsim.engine.simulation import Simulation as Simulation
from evsim.errors import DataError as DataError
from evsim.errors import GrazingWarning as GrazingWarning
from evsim.errors import NetworkError as NetworkError
from evsim.errors import RunFileError as RunFileError
from evsim.errors import SilentLayerError as SilentLayerError
from evsim.network import Network as Network
from evsim.neurons.lif import LIF as LIF
from evsim.results.recording import Recording as Recording
from evsim.results.recording import join as join
from evsim.spikes import SpikeBatch as SpikeBatch
from evsim.spikes import SpikeTrains as SpikeTrains
