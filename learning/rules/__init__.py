"""Learning rules: one file a rule, each with a ``backward`` as in ``evsim.learning.protocols.Rule``."""

from evsim.learning.rules.eventprop import EventProp as EventProp
from evsim.learning.rules.hm2bp import HM2BP as HM2BP
from evsim.learning.rules.rate_based import RateBased as RateBased
from evsim.learning.rules.s_tllr import STLLR as STLLR
from evsim.learning.rules.s_tllr import ottt as ottt
from evsim.learning.rules.st_rsbp import STRSBP as STRSBP
from evsim.learning.rules.tssl_bp import TSSLBP as TSSLBP
