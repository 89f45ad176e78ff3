"""Options of layers, rules, losses, regularisers and trainers: every number is a number, checked in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.errors import InputError

_TUPLES = "tuple[float", "tuple[int"


def check_fields(value: Any, *, infinite: tuple[str, ...] = ()) -> None:
    """Check the fields of a dataclass that are annotated as numbers or switches; to be called first in
    ``__post_init__``, which then checks ranges.

    float : a finite number, or also infinite if the field is named in ``infinite``
    int : an integer; bool : True or False; tuples of the first two : each entry. None where the annotation has it.

    Raises ValueError : anything else, NaN always.
    """
    for field in fields(value):
        if not field.init:
            continue
        kind, given = str(field.type), getattr(value, field.name)
        if given is None and "None" in kind:
            continue
        if kind.startswith(_TUPLES):
            if not isinstance(given, tuple | list | np.ndarray):
                raise InputError(f"{field.name} must be a sequence of numbers; got {given!r}.")
            for entry in given:
                check_number(field.name, entry, integer=kind.startswith("tuple[int"))
        elif kind.startswith(("float", "int")):
            check_number(field.name, given, integer=kind.startswith("int"), infinite=field.name in infinite)
        elif kind.startswith("bool") and not isinstance(given, bool | np.bool_):
            raise InputError(f"{field.name} must be True or False; got {given!r}.")


def all_finite(values: NDArray[np.floating]) -> bool:
    """Is every number finite?"""
    with np.errstate(all="ignore"):
        # A sum needs no room of its own; it overflows only where numbers are huge.
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def check_numbers(values: Mapping[str, Any]) -> None:
    """The same for values by name, which must be finite numbers. Raises ValueError."""
    for name, given in values.items():
        check_number(name, given)


def check_number(name: str, given: Any, *, integer: bool = False, infinite: bool = False) -> None:
    """Raises ValueError : no number, NaN, infinite where that means nothing, a fraction where an integer is asked for.

    given : a number, or an array of no dimension
    """
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    given = given[()] if isinstance(given, np.ndarray) and given.ndim == 0 else given
    if isinstance(given, bool) or not isinstance(given, kinds):
        raise InputError(f"{name} must be {'an integer' if integer else 'a number'}; got {given!r}.")
    if not (np.isfinite(given) or (infinite and not np.isnan(given))):
        wanted = "a number or infinite" if infinite else "finite"
        raise InputError(f"{name} must be {wanted}; got {given}.")
