"""Parts by name with options by name: how a command line or a TOML file makes a rule or a loss."""

from __future__ import annotations

import inspect
import math
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from evsim.errors import InputError


def options_of(factory: Callable[..., Any], given: Any = ()) -> dict[str, Any]:
    """Names and defaults of the options of a class or function; ``given`` : names that are not for the user."""
    arguments = inspect.signature(factory).parameters.values()
    return {a.name: a.default for a in arguments if a.name not in given}


def make(what: str, factory: Callable[..., Any], options: Mapping[str, Any], **given: Any) -> Any:
    """``factory(**given, **options)``, with the options checked and converted.

    what : its name for messages

    Raises ValueError : an option that it does not have, with those that it has; a value of another type.
    """
    known = options_of(factory, given)
    unknown = [name for name in options if name not in known]
    if unknown:
        has = f"It has {', '.join(_shown(k, v) for k, v in known.items())}" if known else "It has none"
        raise InputError(f"{what} has no option {', '.join(unknown)}. {has}.")
    missing = [k for k, v in known.items() if v is inspect.Parameter.empty and k not in options]
    if missing:
        raise InputError(f"{what} needs the option {', '.join(missing)}; give NAME=VALUE.")
    return factory(**given, **convert(what, factory, options))


def convert(what: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the arguments of ``factory`` are annotated; those that it does not have are left as they are.

    A text is read as a number, as true or false (also yes and no, on and off, 1 and 0), or as the name of a Surrogate.

    Raises ValueError : a value of another type, or NaN.
    """
    arguments = inspect.signature(factory).parameters
    return {k: _converted(what, k, v, arguments[k].annotation) if k in arguments else v for k, v in options.items()}


def parse(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as TOML reads it, or, where it does not, the text itself.

    Raises ValueError : no name or no "=".
    """
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise InputError(f"an option is written NAME=VALUE; got {text!r}.")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _shown(name: str, default: Any) -> str:
    return name if default is inspect.Parameter.empty else f"{name} ({default!r})"


def _converted(what: str, name: str, value: Any, annotation: Any) -> Any:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    kinds = [kind.strip() for kind in text.split("|")]
    if "None" in kinds and (value is None or str(value).lower() == "none"):
        return None
    for kind in kinds:
        if kind == "Surrogate" and isinstance(value, str):
            return _surrogate(what, name, value)
        if kind.startswith("tuple") and isinstance(value, list | tuple):
            return tuple(value)
        if kind in _READERS:
            try:
                return _READERS[kind](value)
            except (ValueError, TypeError, OverflowError) as error:
                wanted = " or ".join(_CALLED.get(k, k) for k in kinds)
                raise InputError(f"{name} of {what} must be {wanted}; got {value!r}.") from error
    if kinds[0].startswith("tuple"):
        raise InputError(f"{name} of {what} must be a list, as in {name}=[1, 2]; got {value!r}.")
    return value


def _surrogate(what: str, name: str, value: str) -> Any:
    from evsim.learning import surrogates

    named = {key: s for key, s in vars(surrogates).items() if isinstance(s, surrogates.Surrogate)}
    if value not in named:
        raise InputError(f"{name} of {what} must be one of {', '.join(named)}; got {value!r}.")
    return named[value]


def _bool(value: Any) -> bool:
    text = str(value).lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool) or float(value) != int(float(value)):
        raise ValueError
    return int(value) if not isinstance(value, str) else int(float(value))


def _float(value: Any) -> int | float:
    if isinstance(value, bool) or math.isnan(float(value)):
        raise ValueError
    return float(value) if isinstance(value, str) else value


def _str(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_READERS: dict[str, Callable[[Any], Any]] = {"bool": _bool, "int": _int, "float": _float, "str": _str}
_CALLED = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a text", "None": "none"}
