"""Numbers that carry a unit: converted where the meaning is plain, refused elsewhere, never dropped.

Known: quantities and neo, pint, astropy, unyt, ``numpy.timedelta64``. None is imported here; they are recognised
by what they can do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from evsim.errors import InputError

_PLAIN = (int, float)
_ATTRIBUTES = ("units", "unit", "dimensions")


def without_unit(name: str, value: Any, unit: str | None) -> Any:
    """The value as a plain number, array or list: in ``unit`` ("ms", "Hz"); None: it must have no unit.

    Raises ValueError : a unit that cannot be converted to ``unit``, or any unit where none is expected.
    """
    if isinstance(value, (list, tuple)):
        # numpy would drop the units of the elements without a word.
        return [without_unit(name, v, unit) for v in value] if any(map(_may_have_unit, value)) else value
    if not _may_have_unit(value):
        return value
    if _is_duration(value):
        if unit != "ms":
            raise InputError(_refusal(name, "a duration", unit))
        return np.asarray(value, dtype="timedelta64") / np.timedelta64(1, "ms")
    unit_of_value = _unit_of(value)
    if unit_of_value is None:
        return value
    try:
        return _converted(value, unit or "dimensionless")
    except Exception as error:  # every library has errors of its own for units that do not fit
        raise InputError(_refusal(name, f"the unit {unit_of_value!r}", unit)) from error


def _may_have_unit(value: Any) -> bool:
    if type(value) in _PLAIN or value is None or isinstance(value, str):
        return False
    return type(value) is not np.ndarray or value.dtype.kind in "mMO"


def _is_duration(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return isinstance(value, timedelta) or getattr(dtype, "kind", "") == "m"


def _unit_of(value: Any) -> str | None:
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return next((u for u in map(_unit_of, value.ravel()) if u is not None), None)
    for attribute in _ATTRIBUTES:
        unit = getattr(value, attribute, None)
        if unit is not None and not callable(unit):
            return str(getattr(unit, "dimensionality", unit))
    return None


def _converted(value: Any, unit: str) -> Any:
    if hasattr(value, "rescale"):
        return value.rescale(unit).magnitude
    if hasattr(value, "to_value"):
        return value.to_value("" if unit == "dimensionless" else unit)
    return value.to(unit).magnitude


def _refusal(name: str, what: str, unit: str | None) -> str:
    if unit is None:
        return (
            f"{name} must be plain numbers; got {what}. Potentials, currents and weights are in one unit of your "
            "choice, that of the threshold: divide by it."
        )
    return f"{name} must be in {unit}; got {what}, which cannot be converted to it. Give plain numbers, in {unit}."
