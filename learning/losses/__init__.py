"""Losses: from outputs and labels to a value and its derivative; see ``evsim.learning.protocols.Loss``."""

from evsim.learning.losses.counts import CountLoss as CountLoss
from evsim.learning.losses.counts import SmoothCountLoss as SmoothCountLoss
from evsim.learning.losses.custom import CustomLoss as CustomLoss
from evsim.learning.losses.moments import MomentaryCrossEntropy as MomentaryCrossEntropy
from evsim.learning.losses.psc import PSCCount as PSCCount
from evsim.learning.losses.psc import PSCDistance as PSCDistance
from evsim.learning.losses.psc import desired_trains as desired_trains
from evsim.learning.losses.psc import psc_classes as psc_classes
from evsim.learning.losses.times import TargetTimes as TargetTimes
from evsim.learning.losses.times import TTFSLoss as TTFSLoss
from evsim.learning.losses.trains import TargetTrains as TargetTrains
from evsim.learning.losses.trains import VanRossum as VanRossum
from evsim.learning.losses.voltages import VoltageCrossEntropy as VoltageCrossEntropy
