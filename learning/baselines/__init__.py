"""What the rules are compared with: surrogate gradients on a time step, and networks without spikes."""

from evsim.learning.baselines.ann import ANN as ANN
from evsim.learning.baselines.ann import ANNTrainer as ANNTrainer
from evsim.learning.baselines.ann import Linear as Linear
from evsim.learning.baselines.ann import Perceptron as Perceptron
from evsim.learning.baselines.grid import GridModel as GridModel
from evsim.learning.baselines.grid import GridTrainer as GridTrainer
from evsim.learning.baselines.grid import SurrogateBPTT as SurrogateBPTT
