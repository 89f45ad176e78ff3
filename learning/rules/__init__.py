"""Learning rules: one file a rule, each with ``backward(layer, inputs, outputs, signal, t_stop)``."""

from evsim.learning.rules.hm2bp import HM2BP as HM2BP
