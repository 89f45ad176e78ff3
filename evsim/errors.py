"""Errors that a caller may want to catch; each is also a standard exception."""


class NetworkError(ValueError):
    """A network that cannot be simulated as declared (for instance a zero-delay delta cycle)."""


class DataError(ValueError):
    """A data file or data set that is missing, truncated or of another kind than asked for."""


class RunFileError(ValueError):
    """A run or recording file that is truncated, foreign, or of an unknown schema."""


class SilentLayerError(RuntimeError):
    """A layer emitted no spike in a whole epoch, so nothing can be learned through it."""


class GrazingWarning(UserWarning):
    """Peaks came within 1e-12 (relative) of threshold, where float64 cannot decide a spike."""
