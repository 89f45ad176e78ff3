"""Layered models, losses, rules and training, all from recorded exact spike times."""

from evsim.learning.layers import Dense as Dense
from evsim.learning.layers import Recurrent as Recurrent
from evsim.learning.losses import CountLoss as CountLoss
from evsim.learning.losses import CustomLoss as CustomLoss
from evsim.learning.losses import SmoothCountLoss as SmoothCountLoss
from evsim.learning.losses import TargetTimes as TargetTimes
from evsim.learning.losses import TargetTrains as TargetTrains
from evsim.learning.losses import TTFSLoss as TTFSLoss
from evsim.learning.losses import VanRossum as VanRossum
from evsim.learning.losses import VoltageCrossEntropy as VoltageCrossEntropy
from evsim.learning.model import Sequential as Sequential
from evsim.learning.network_gradient import network_gradient as network_gradient
from evsim.learning.optimisers import SGD as SGD
from evsim.learning.optimisers import Adam as Adam
from evsim.learning.readout import Readout as Readout
from evsim.learning.remedies import CountRegularisation as CountRegularisation
from evsim.learning.remedies import SilentVoltage as SilentVoltage
from evsim.learning.remedies import WeightBumping as WeightBumping
from evsim.learning.rules import HM2BP as HM2BP
from evsim.learning.rules import EventProp as EventProp
from evsim.learning.rules.eventprop import conditioning as conditioning
from evsim.learning.spsp import s_psp as s_psp
from evsim.learning.training import Trainer as Trainer
from evsim.learning.training import TrainingOptions as TrainingOptions
from evsim.learning.training import calibrate as calibrate
