"""What a rule or a loss is given, and what it gives back: names, shapes and finiteness, checked once for every rule.

A kernel indexes by the spikes there are and checks nothing, so everything that reaches one comes through here:
``protocols.backward`` (Trainer, check_gradient, the torch bridge) checks arguments and results of any rule, also of a
user's own; ``checked_arguments`` does so for a direct call of a rule of this package.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from evsim.errors import GradientError, InputError
from evsim.learning.fields import all_finite, check_number
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.moments import Moments
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout, Voltages
from evsim.learning.needs import check_layer
from evsim.learning.psc_gradient import PSCGradient
from evsim.spikes import SpikeBatch
from evsim.types import Floats

KINDS = ("counts", "times", "values", "moments", "psc")
"""By what a loss may have its derivative."""

_SWITCHES = ("is_output", "wants_signal", "threads")
_CALL = "backward(layer, inputs, outputs, signal, t_stop, *, is_output=False, wants_signal=True, threads=1)"
F = TypeVar("F", bound=Callable[..., Any])


def name_of(part: Any) -> str:
    """The class of a rule, a loss or a layer, for messages."""
    return type(part).__name__


def check_rule(rule: Any) -> None:
    """Raises GradientError : no ``signals``, or no ``backward`` that can be called as ``protocols.Rule`` has it."""
    check_signals(rule)
    backward = getattr(rule, "backward", None)
    if not callable(backward):
        raise GradientError(f"{name_of(rule)} has no method {_CALL}; see evsim.learning.Rule.")
    parameters = inspect.signature(backward).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    missing = [name for name in _SWITCHES if name not in parameters]
    if missing:
        raise GradientError(
            f"{name_of(rule)}.backward does not take {', '.join(missing)}; a rule is called as {_CALL}. "
            "Add them, or **switches."
        )


def check_signals(rule: Any) -> None:
    """Raises GradientError : no tuple ``signals`` of ``KINDS``."""
    signals = getattr(rule, "signals", None)
    if not isinstance(signals, tuple | list) or not signals or any(kind not in KINDS for kind in signals):
        raise GradientError(
            f"{name_of(rule)} must say from what kinds of derivative of a loss it starts: signals = ('times',), or "
            f"others of {', '.join(KINDS)}; got {signals!r}."
        )


def loss_and_signal(loss: Any, outputs: Any, labels: Any) -> tuple[Floats, Any]:
    """Value of each sample, (n,), and the derivative by the outputs, of a kind that ``loss.signal`` names.

    Raises GradientError : another shape, NaN or infinite; and what the loss itself raises
    """
    kind = getattr(loss, "signal", None)
    if kind not in KINDS:
        raise GradientError(f"{name_of(loss)}.signal must be one of {', '.join(KINDS)}; got {kind!r}.")
    result = loss(outputs, labels)
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(f"{name_of(loss)} must return (values, derivative); got {_said(result)}.")
    value = _numbers(result[0], f"the values of {name_of(loss)}")
    if value.shape != (len(outputs),):
        raise GradientError(
            f"{name_of(loss)} must give one value a sample, shape ({len(outputs)},); got {value.shape}."
        )
    if not all_finite(value):
        raise GradientError(f"{name_of(loss)} gave a value that is not finite, for sample {_first_bad(value)}.")
    return value, _as_signal(result[1], outputs, (kind,), f"the derivative that {name_of(loss)} gave")


def weighted(signal: Any, outputs: Any, factors: Floats) -> Any:
    """A loss's derivative with the loss of each sample multiplied by a factor.

    signal : as ``loss_and_signal`` gives it, for ``outputs``; factors : (n_samples,)
    """
    if isinstance(signal, PSCGradient):
        by_spike = factors[outputs.samples()]
        return PSCGradient(
            signal.by_psc * by_spike, signal.by_time * by_spike, lambda at: signal.at(at) * factors[at.samples()]
        )
    if signal.ndim == 1:
        return signal * factors[outputs.samples()]
    return signal * factors.reshape(-1, *[1] * (signal.ndim - 1))


def check_arguments(
    rule: Any, layer: Any, inputs: Any, outputs: Any, signal: Any, t_stop: float, hands_on: bool = True
) -> Any:
    """What ``rule.backward`` is given fits together; returns the signal as float64.

    The signal of a spiking layer is (n_spikes,), (n, n_out) or (n, windows, n_out), or a value of the rule's own.

    hands_on : is the signal of the layer below wanted?

    Raises GradientError : sizes, lengths or types that do not fit, NaN or infinite, a layer that the rule cannot train
    """
    _check_layer(rule, layer, inputs, outputs, t_stop, hands_on)
    kinds = _readout_kinds(layer) if isinstance(layer, Readout) else ("times", "counts")
    return _as_signal(signal, outputs, kinds, f"the signal that {name_of(rule)}.backward gets", strict=False)


def checked_arguments(*kinds: str, own: Callable[[Any], bool] | None = None) -> Callable[[F], F]:
    """A decorator for the ``backward`` of a rule whose kernels rely on its arguments.

    kinds : of ``KINDS``, what the signal of a spiking layer may be; of a Readout it is as its values
    own : is the signal a value of the rule's own, which only the rule itself makes?

    A pool without neurons passes a signal on by itself, whatever the rule.
    """

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def checked(
            self: Any, layer: Any, inputs: Any, outputs: Any, signal: Any, t_stop: float, **switches: Any
        ) -> Any:
            _check_layer(self, layer, inputs, outputs, t_stop, switches.get("wants_signal", True))
            if isinstance(layer, Readout) or own is None or not own(signal):
                allowed = _readout_kinds(layer) if isinstance(layer, Readout) else kinds
                signal = _as_signal(
                    signal, outputs, allowed, f"the signal that {name_of(self)}.backward gets",
                    windows=getattr(self, "windows", 1),
                )  # fmt: skip
            if isinstance(layer, SumPool2d):
                return {}, layer.signal_below(signal, inputs)
            return method(self, layer, inputs, outputs, signal, t_stop, **switches)

        return checked  # type: ignore[return-value]

    return decorate


def check_result(rule: Any, place: str, layer: Layer, inputs: SpikeBatch, result: Any, wants_signal: bool) -> Any:
    """What ``rule.backward`` gave for a layer: gradients of the names and shapes that the layer has, float64.

    place : of the layer, for messages
    Raises GradientError : unknown or missing names, other shapes, NaN or infinite, a signal of another length
    """
    where = f"{name_of(rule)}.backward, for {place},"
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(f"{where} must return (gradients by name, signal of the layer below); got {_said(result)}.")
    gradients, below = result
    if not isinstance(gradients, dict):
        raise GradientError(
            f'{where} must return gradients by name, such as {{"weight": array}}; got {_said(gradients)}.'
        )
    shapes = layer.gradient_shapes()
    unknown = [name for name in gradients if name not in shapes]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), shapes, 1)
        hint = f" Is {near[0]!r} meant?" if near else ""
        raise GradientError(f"{where} gives a gradient {unknown[0]!r}; there are {', '.join(shapes)}.{hint}")
    missing = [name for name in layer.needed_gradients() if name not in gradients]
    if missing:
        raise GradientError(f"{where} gives no gradient {missing[0]!r}, which the layer trains; it gives "
                            f"{', '.join(map(str, gradients)) or 'none'}.")  # fmt: skip
    checked: dict[str, Floats] = {}
    for name, given in gradients.items():
        g = _numbers(given, f"the gradient {name!r} of {where}")
        if g.shape not in shapes[name]:
            raise GradientError(
                f"{where} gives {name!r} of shape {g.shape}; it must be {' or '.join(map(str, shapes[name]))}."
            )
        if not all_finite(g):
            raise GradientError(f"{where} gives {name!r} with a value that is not finite, at {_first_bad(g)}.")
        checked[name] = g
    if wants_signal:
        below = _as_signal(below, inputs, ("times", "counts"), f"the signal that {where[:-1]}, returns", strict=False)
    return checked, below


def _readout_kinds(layer: Readout) -> tuple[str, ...]:
    return ("values",) if layer.every is None else ("moments",)


def _output_kinds(layer: Layer) -> tuple[Any, ...]:
    if not isinstance(layer, Readout):
        return (SpikeBatch,)
    return (Voltages,) if layer.every is None else (Moments,)


def _check_layer(rule: Any, layer: Any, inputs: Any, outputs: Any, t_stop: float, hands_on: bool) -> None:
    where = f"{name_of(rule)}.backward"
    if not isinstance(layer, Layer):
        raise GradientError(f"{where} needs a layer; got {_said(layer)}.")
    layer.check()
    check_layer(rule, layer, hands_on)
    for name, batch, kinds, size in (
        ("inputs", inputs, (SpikeBatch,), layer.n_in),
        ("outputs", outputs, _output_kinds(layer), layer.n_out),
    ):
        if not isinstance(batch, kinds):
            raise GradientError(f"{where} needs {name} that are {kinds[0].__name__}; got {_said(batch)}.")
        if batch.size != size:
            raise GradientError(f"{where}: the {name} are of {batch.size} neurons; {layer.describe()} has {size}.")
    if len(inputs) != len(outputs):
        raise GradientError(f"{where}: the inputs are {len(inputs)} samples, the outputs {len(outputs)}.")
    if isinstance(outputs, Moments):
        if not all_finite(outputs.values):
            raise GradientError(f"{where}: the values of the Moments must be finite.")
    elif isinstance(outputs, Voltages):
        _check_voltages(where, inputs, outputs)
    elif outputs.currents is not None:
        c, n = outputs.currents, outputs.times.size
        if not isinstance(c, np.ndarray) or c.dtype != np.float64 or c.shape != (n,) or not all_finite(c):
            raise GradientError(
                f"{where}: the currents of the outputs must be {n} finite float64, one for each spike; got {_said(c)}. "
                "Take the outputs from model.forward."
            )
    try:
        check_number("t_stop", t_stop)
    except InputError as error:
        raise GradientError(f"{where}: {error}") from None
    if not t_stop > 0:
        raise GradientError(f"{where}: t_stop must be > 0 ms; got {t_stop}.")


def _check_voltages(where: str, inputs: SpikeBatch, outputs: Voltages) -> None:
    shape = (len(inputs), outputs.size)
    for name in ("values", "times", "corner", "slope"):
        array = getattr(outputs, name)
        if array.shape != shape or not all_finite(array):
            raise GradientError(f"{where}: {name} of the Voltages must be finite, of shape {shape}; got {array.shape}.")
    corner = outputs.corner
    if corner.dtype.kind != "i" or (corner.size and (corner.min() < -1 or corner.max() >= max(inputs.times.size, 1))):
        raise GradientError(f"{where}: the Voltages belong to other inputs: a corner is no arrival of these.")


def _as_signal(
    signal: Any, outputs: Any, kinds: tuple[str, ...], what: str, *, strict: bool = True, windows: int | None = None
) -> Any:
    """A signal of some ``kinds`` for ``outputs``, checked; strict: False lets values pass that are no arrays.

    windows : of signals by count; None: any number
    """
    spikes = outputs.times.size if isinstance(outputs, SpikeBatch) else 0
    if isinstance(signal, PSCGradient):
        if strict and "psc" not in kinds:
            raise GradientError(f"{what} must be an array; got a PSCGradient, the derivative of a loss of PSCs.")
        for name in ("by_psc", "by_time"):
            part = getattr(signal, name)
            if np.shape(part) != (spikes,) or not all_finite(np.asarray(part)):
                raise GradientError(f"{what}: {name} must be {spikes} finite numbers, one for each spike; got "
                                    f"{_said(part)}.")  # fmt: skip
        return signal
    if not strict and not isinstance(signal, np.ndarray | list | tuple | float | int):
        return signal
    if strict and kinds == ("psc",):
        raise GradientError(f"{what} must be a PSCGradient, the derivative by PSCs; got {_said(signal)}.")
    numbers = _numbers(signal, what)
    shape = (len(outputs), outputs.size)
    allowed: list[str] = []
    fits = False
    for kind in kinds:
        if kind == "times":
            allowed.append(f"({spikes},), one for each spike")
            fits |= numbers.shape == (spikes,)
        elif kind == "moments":
            whole = outputs.values.shape if isinstance(outputs, Moments) else (len(outputs), "moments", outputs.size)
            allowed.append(str(whole))
            fits |= numbers.shape == whole
        elif kind in ("counts", "values"):
            allowed.append(str(shape))
            fits |= numbers.shape == shape
            by_window = kind == "counts" and numbers.ndim == 3 and (numbers.shape[0], numbers.shape[2]) == shape
            fits |= by_window and (not strict or windows is None or numbers.shape[1] == windows)
    if not fits:
        raise GradientError(f"{what} must have shape {' or '.join(allowed)}; got {numbers.shape}.")
    if not all_finite(numbers):
        raise GradientError(f"{what} has a value that is not finite, at {_first_bad(numbers)}.")
    return numbers


def _numbers(values: Any, what: str) -> Floats:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise GradientError(f"{what} must be an array of real numbers; got {_said(values)}.")
    return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)


def _first_bad(values: Floats) -> str:
    return str(tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0]))


def _said(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
