"""Options of a command from a TOML table: each value is of the kind that its option takes, before click converts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from evsim.errors import DataError


def option_values(table: Mapping[str, Any], params: Iterable[click.Parameter], where: str) -> dict[str, Any]:
    """The values as ``default_map`` takes them; a table becomes the pairs of NAME=VALUE of its option.

    table : by name of the option; names that no option has are left as they are; where : names the file in errors

    Raises DataError : a date, a table or list where one value is asked for, one value where a list is, a fraction or
    truth value for an integer, a number beyond float64.
    """
    known = {param.name: param for param in params}
    return {name: _value(value, known.get(name), f"{where}: {name}") for name, value in table.items()}


def _value(value: Any, param: click.Parameter | None, where: str) -> Any:
    if param is None:
        return value
    if (param.name or "").endswith("_options"):
        if not isinstance(value, dict):
            raise DataError(f"{where} must be a table of NAME = VALUE; got {value!r}.")
        for name, inner in value.items():
            for entry in inner if isinstance(inner, list) else [inner]:
                _plain(entry, f"{where}.{name}")
        return tuple(value.items())
    if getattr(param, "multiple", False) or param.nargs != 1:
        if not isinstance(value, list):
            raise DataError(f"{where} must be a list; got {value!r}.")
        for entry in value:
            _one(entry, param, where)
        return value
    _one(value, param, where)
    return value


def _one(value: Any, param: click.Parameter, where: str) -> None:
    _plain(value, where)
    flag = getattr(param, "is_flag", False)
    if flag != isinstance(value, bool):
        raise DataError(f"{where} must {'be true or false' if flag else 'not be a truth value'}; got {value!r}.")
    if isinstance(param.type, click.types.IntParamType) and isinstance(value, float):
        raise DataError(f"{where} must be an integer; got {value!r}.")


def _plain(value: Any, where: str) -> None:
    if not isinstance(value, (str, int, float, bool)):
        raise DataError(f"{where} must be a number, a text, true or false; got {value!r}.")
    if isinstance(value, int) and abs(value) > 2**1000:
        raise DataError(f"{where} is beyond float64.")
