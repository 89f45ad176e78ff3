"""Pictures: spike rasters, voltages, learning curves and weights. Every function returns a figure."""

from evsim.plot.activity import raster as raster
from evsim.plot.activity import rates as rates
from evsim.plot.activity import voltage as voltage
from evsim.plot.training import gradients as gradients
from evsim.plot.training import learning_curve as learning_curve
from evsim.plot.training import weights as weights
