"""Errors that a caller may want to catch; each is also a standard exception.

An `InputError` is what its user can mend: a value, an option, a file. The command line says it in one sentence. A plain
ValueError or TypeError comes from a program that hands evsim arrays which do not belong together, or from a fault of
evsim's own; there it keeps its traceback.
"""

import sys
import warnings
from pathlib import Path

_HERE = str(Path(__file__).parent)
"""Folder of the package, whose lines no warning is to point at."""


class InputError(ValueError):
    """A value, option or file that a user gave and that does not fit; it says what was asked, what came, what to do."""


class NetworkError(InputError):
    """A network that cannot be simulated as declared (for instance a zero-delay delta cycle)."""


class ZeroDelayError(NetworkError):
    """A synapse between neurons turned out to have no delay, for an engine that needs one."""


class RunawayError(NetworkError):
    """A run that cannot end, or whose spikes outgrow the memory: neurons that spike without bound."""


class DataError(InputError):
    """A data file or data set that is missing, truncated or of another kind than asked for."""


class RunFileError(InputError):
    """A run or recording file that is truncated, foreign, or of an unknown schema."""


class SilentLayerError(RuntimeError):
    """A layer emitted no spike in a whole epoch, so nothing can be learned through it."""


class GradientError(InputError):
    """A gradient that does not exist, or that a rule cannot give for this layer or loss."""


MENDABLE = (InputError, SilentLayerError, OSError, MemoryError)
"""Errors that a command says in one sentence; any other keeps its traceback."""


class GrazingWarning(UserWarning):
    """Peaks came within 1e-12 (relative) of threshold, where float64 cannot decide a spike."""


def warn_of_grazing(peaks: int) -> None:
    """Give a GrazingWarning if there is anything to warn of. It points at the user's line, where Python can (3.12)."""
    if not peaks:
        return
    text = (
        f"{peaks} peaks came within 1e-12 (relative) of threshold; whether these neurons spike cannot be decided "
        "in float64."
    )
    if sys.version_info >= (3, 12):
        warnings.warn(text, GrazingWarning, skip_file_prefixes=(_HERE,))
    else:
        warnings.warn(text, GrazingWarning, stacklevel=2)
