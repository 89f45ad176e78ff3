"""Parts by name with options by name: how a command line or a TOML file makes a rule or a loss."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from typing import Any


def options_of(factory: Callable[..., Any], given: Any = ()) -> dict[str, Any]:
    """Names and defaults of the options of a class or function; ``given`` : names that are not for the user."""
    arguments = inspect.signature(factory).parameters.values()
    return {a.name: a.default for a in arguments if a.name not in given}


def make(what: str, factory: Callable[..., Any], options: Mapping[str, Any], **given: Any) -> Any:
    """``factory(**given, **options)``, with the options checked and converted.

    what : its name for messages. A text for an argument that is no text is read as a TOML value, a Surrogate by its
    name (S1, S2, S3, S4, TSSL).

    Raises ValueError : an option that it does not have, with those that it has.
    """
    known = options_of(factory, given)
    unknown = [name for name in options if name not in known]
    if unknown:
        has = f"It has {', '.join(_shown(k, v) for k, v in known.items())}" if known else "It has none"
        raise ValueError(f"{what} has no option {', '.join(unknown)}. {has}.")
    missing = [k for k, v in known.items() if v is inspect.Parameter.empty and k not in options]
    if missing:
        raise ValueError(f"{what} needs the option {', '.join(missing)}; give NAME=VALUE.")
    arguments = inspect.signature(factory).parameters
    return factory(**given, **{k: _converted(what, k, v, arguments[k].annotation) for k, v in options.items()})


def parse(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as TOML reads it, or, where it does not, the text itself.

    Raises ValueError : no name or no "=".
    """
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise ValueError(f"an option is written NAME=VALUE; got {text!r}.")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _shown(name: str, default: Any) -> str:
    return name if default is inspect.Parameter.empty else f"{name} ({default!r})"


def _converted(what: str, name: str, value: Any, annotation: Any) -> Any:
    kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if kind == "Surrogate" and isinstance(value, str):
        from evsim.learning import surrogates

        named = {key: s for key, s in vars(surrogates).items() if isinstance(s, surrogates.Surrogate)}
        if value not in named:
            raise ValueError(f"{name} of {what} must be one of {', '.join(named)}; got {value!r}.")
        return named[value]
    if kind in ("str", "str | None") and not isinstance(value, str | None):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return tuple(value) if isinstance(value, list) else value
