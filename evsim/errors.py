"""Errors that a caller may want to catch; each is also a standard exception."""

import sys
import warnings
from pathlib import Path


class NetworkError(ValueError):
    """A network that cannot be simulated as declared (for instance a zero-delay delta cycle)."""


class ZeroDelayError(NetworkError):
    """A synapse between neurons turned out to have no delay, for a driver that needs one."""


class RunawayError(NetworkError):
    """A run that cannot end, or whose spikes outgrow the memory: neurons that spike without bound."""


class DataError(ValueError):
    """A data file or data set that is missing, truncated or of another kind than asked for."""


class RunFileError(ValueError):
    """A run or recording file that is truncated, foreign, or of an unknown schema."""


class SilentLayerError(RuntimeError):
    """A layer emitted no spike in a whole epoch, so nothing can be learned through it."""


class GradientError(ValueError):
    """A gradient that does not exist, or that a rule cannot give for this layer or loss."""


class GrazingWarning(UserWarning):
    """Peaks came within 1e-12 (relative) of threshold, where float64 cannot decide a spike."""


def warn_of_grazing(peaks: int) -> None:
    """Give a GrazingWarning that points at the user's line, if there is anything to warn of."""
    if not peaks:
        return
    here = str(Path(__file__).parent)
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{peaks} peaks came within 1e-12 (relative) of threshold; whether these neurons spike cannot be decided "
        "in float64.",
        GrazingWarning,
        stacklevel=level,
    )
