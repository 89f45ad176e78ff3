"""The door for numbers: what a user gave, checked once, without units, and owned.

Everything that takes numbers from a user goes through here, so that text, booleans, units, complex numbers, masked
entries, NaN and infinity get the same sentence everywhere, and no array is shared with the caller.
"""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.errors import InputError
from evsim.units import without_unit

LARGEST = 1e150
"""Largest size of a number that a user may give: products of two of them stay finite in float64."""

MOST = 2**31 - 1
"""Most neurons or sources: their numbers are kept in 32 bits."""

_NO_NUMBERS = (bool, np.bool_, np.timedelta64)


def numbers(name: str, value: Any, *, unit: str | None = None) -> Any:
    """A float, or an own read-only float64 array of the same shape.

    unit : "ms" or "Hz", to which values with units are converted; None: values with units are refused

    Raises ValueError : text, booleans, complex or masked numbers, NaN, infinity, sizes beyond ``LARGEST``.
    """
    if type(value) is float and -LARGEST <= value <= LARGEST:
        return value
    a = np.array(real(name, value, unit), dtype=np.float64)
    # NaN fails this comparison too.
    if not np.all(np.abs(a) <= LARGEST):
        bad = a[~(np.abs(a) <= LARGEST)].flat[0]
        place = "" if a.ndim == 0 else f"[{', '.join(map(str, np.argwhere(~(np.abs(a) <= LARGEST))[0]))}]"
        if np.isfinite(bad):
            raise InputError(
                f"{name} must be at most {LARGEST:g} in size; {name}{place} is {bad:g}. Sums and products of such "
                "numbers overflow: use another unit."
            )
        raise InputError(f"{name} must be finite; it holds NaN or infinity: {name}{place} is {bad}.")
    return float(a) if a.ndim == 0 else frozen(a)


def number(
    name: str,
    value: Any,
    *,
    unit: str | None = None,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """One number, with ``value > above`` and ``low <= value <= high`` where given; else as ``numbers``.

    Raises ValueError : as ``numbers``; several numbers; out of range.
    """
    bounds = "".join(f" and {sign} {b:g}" for sign, b in ((">", above), (">=", low), ("<=", high)) if b is not None)
    said = f"{name} must be finite{bounds}{f' {unit}' if unit else ''}"
    try:
        v = numbers(name, value, unit=unit)
    except InputError as error:
        if "must be finite" not in str(error):
            raise
        raise InputError(f"{said}; got {_short(value)}.") from error
    if not isinstance(v, float):
        raise InputError(f"{name} must be one number; got shape {v.shape}.")
    if (above is not None and not v > above) or (low is not None and v < low) or (high is not None and v > high):
        raise InputError(f"{said}; got {_short(value)}.")
    return v


def whole(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """An integer with ``low <= value <= high`` where given. Raises ValueError : anything else, booleans too."""
    bounds = "".join(f" {sign} {b}" for sign, b in ((">=", low), ("<=", high)) if b is not None)
    ok = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))
    if not ok or (low is not None and value < low) or (high is not None and value > high):
        raise InputError(f"{name} must be{'' if ok else ' an integer'}{bounds}; got {_short(value)}.")
    return int(value)


def whole_numbers(name: str, values: Any) -> NDArray[Any]:
    """Integers of any shape and width, as given or as an array of a list, never rounded or wrapped.

    Raises ValueError : fractions, booleans, text, or integers beyond 64 bits.
    """
    a = np.asarray(without_unit(name, values, None))
    if a.size and a.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers; got dtype {a.dtype}.")
    if a.size == 0:
        return a.astype(np.int64)
    _no_mask(name, values)
    return a


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of an array that evsim owns."""
    view = array.view()
    view.flags.writeable = False
    return view


def real(name: str, value: Any, unit: str | None) -> NDArray[Any]:
    """The value as an array of real numbers, not yet copied."""
    plain = without_unit(name, value, unit)
    try:
        a = np.asarray(plain)
        if a.dtype.kind == "O":
            if not all(isinstance(v, (Real, Decimal)) and not isinstance(v, _NO_NUMBERS) for v in a.flat):
                raise TypeError
            a = a.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a number, or hold numbers; got {_short(value)}.") from error
    if a.size and a.dtype.kind not in "iuf":
        kind = {"b": "booleans", "U": "text", "S": "text", "c": "complex numbers"}.get(a.dtype.kind, str(a.dtype))
        raise InputError(f"{name} must be a number, or hold numbers; got {kind}: {_short(value)}.")
    _no_mask(name, plain)
    return a


def _no_mask(name: str, value: Any) -> None:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"{name} has masked entries, which are no numbers; fill them or leave them out.")


def _short(value: Any) -> str:
    """What came, in one short line."""
    if isinstance(value, np.generic):
        return str(value)
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
