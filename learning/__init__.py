"""Layered models, losses, rules and training, all from recorded exact spike times."""

from evsim.learning.layers import Dense as Dense
from evsim.learning.losses import CountLoss as CountLoss
from evsim.learning.losses import predict as predict
from evsim.learning.model import Sequential as Sequential
from evsim.learning.optimisers import SGD as SGD
from evsim.learning.optimisers import Adam as Adam
from evsim.learning.rules import HM2BP as HM2BP
from evsim.learning.spsp import s_psp as s_psp
from evsim.learning.training import Trainer as Trainer
from evsim.learning.training import TrainingOptions as TrainingOptions
from evsim.learning.training import calibrate as calibrate
