"""Exact, lossless, event-driven simulation of spiking networks, and learning from the spike times."""

from evsim import encode as encode
from evsim._lazy import loaded as __getattr__
from evsim.connect import AllToAll as AllToAll
from evsim.connect import Bernoulli as Bernoulli
from evsim.connect import FixedIndegree as FixedIndegree
from evsim.connect import FixedOutdegree as FixedOutdegree
from evsim.connect import FixedTotalNumber as FixedTotalNumber
from evsim.connect import OneToOne as OneToOne
from evsim.errors import DataError as DataError
from evsim.errors import GrazingWarning as GrazingWarning
from evsim.errors import NetworkError as NetworkError
from evsim.errors import RunFileError as RunFileError
from evsim.errors import SilentLayerError as SilentLayerError
from evsim.network import Network as Network
from evsim.plasticity import STDP as STDP
from evsim.recording import Recording as Recording
from evsim.recording import join as join
from evsim.simulation import Simulation as Simulation
from evsim.types import LIF as LIF
from evsim.types import SpikeBatch as SpikeBatch
from evsim.types import SpikeTrains as SpikeTrains
