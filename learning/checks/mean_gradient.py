"""The gradient of the mean loss over random input, by differences, and how far a rule is from it.

EventProp is the gradient of one given input: the spikes that there are move. The mean loss over random input also
changes because spikes appear and vanish, which no derivative of spike times sees. Differences of the mean over many
draws see both. Draws are common to both sides of a difference, and the estimate comes in independent blocks of draws:
products of different blocks have no bias by noise, and leaving out one block after the other gives error bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim import streams
from evsim.errors import InputError
from evsim.learning.layers.parameter import Kind
from evsim.learning.model import Sequential
from evsim.learning.protocols import Loss, Rule, loss_gradients
from evsim.spikes import SpikeBatch
from evsim.types import Floats

Draw = Callable[[np.ndarray], tuple[SpikeBatch, np.ndarray]]
"""Numbers of draws, (n,) int64 -> their input spikes and labels; the same number gives the same draw."""

Gradients = Callable[[SpikeBatch, np.ndarray], list[Floats]]
"""Input spikes and labels -> gradients of their mean loss by the trained arrays, as of ``Trainer.gradients``."""


@dataclass(frozen=True, eq=False)
class GradientBlocks:
    """A gradient estimated in independent blocks of draws.

    names : (layer, parameter) of each trained array, in the order of ``Sequential.parameters``
    blocks : for each array (n_blocks, size), the estimate of each block
    draws : number of all draws
    """

    names: list[tuple[int, str]]
    blocks: list[Floats]
    draws: int

    def mean(self) -> list[Floats]:
        """Estimate of each array from all blocks, flat."""
        return [b.mean(axis=0) for b in self.blocks]

    def of(self, layer: int | None = None) -> Floats:
        """Blocks of one layer's arrays, or of all arrays (None), side by side: (n_blocks, parameters)."""
        return np.concatenate([b for (k, _), b in zip(self.names, self.blocks) if layer in (None, k)], axis=1)

    def noise(self, layer: int | None = None) -> float:
        """Standard error of a layer's gradient (None: of the worst layer's) by its norm; inf where noise hides it."""
        if layer is None:
            return max(self.noise(k) for k in {k for k, _ in self.names})
        flat = self.of(layer)
        error = flat.var(axis=0, ddof=1).sum() / len(flat)
        square = inner(flat, flat)
        return float(np.sqrt(error / square)) if square > 0.0 else np.inf


@dataclass(frozen=True)
class MeanAgreement:
    """A gradient beside the gradient of the mean loss, both corrected for the noise of their estimates.

    layer : its number, or -1 for all layers together; n : number of parameters
    cosine, norm_ratio : |a|/|b|; with their standard errors (jackknife over blocks). NaN where noise hides a norm
    """

    layer: int
    n: int
    cosine: float
    cosine_error: float
    norm_ratio: float
    norm_ratio_error: float


def inner(a: Floats, b: Floats) -> float:
    """<E a, E b> without bias from blocks (n_blocks, n) of the same draws: products of different blocks only."""
    n = len(a)
    return float((a.sum(axis=0) @ b.sum(axis=0) - np.vdot(a, b)) / (n * (n - 1)))


def mean_gradient(
    model: Sequential,
    loss: Loss,
    draw: Draw,
    t_stop: float,
    *,
    step: float = 0.05,
    precision: float = 0.05,
    most_draws: int = 20_000,
    draws_a_block: int = 50,
    threads: int = 1,
) -> GradientBlocks:
    """Gradient of the mean of ``loss`` over random draws by the trained arrays of a model: central differences.

    Every parameter is moved by +-h on the same draws, h = ``step`` times its scale: of weights the root mean square.
    The number of draws doubles until the standard error of each layer's gradient is ``precision`` times its norm, or
    the next doubling would pass ``most_draws``; ``GradientBlocks.noise`` says what was reached.

    The bias is of second order in ``step``; the noise grows as 1/sqrt(step), since a spike that appears within +-h
    changes the loss of its draw by a finite amount.

    Raises ValueError : step or precision not > 0, fewer draws than four blocks, an array that is 0 throughout.
    """
    _check(step, precision, most_draws, draws_a_block)
    parameters = _parameters(model)
    sizes = [step * _scale(model, name, array) for name, array in parameters]

    def estimate(numbers: np.ndarray) -> list[Floats]:
        inputs, labels = draw(numbers)
        spikes = model.forward(inputs, t_stop, threads)
        estimates = []
        for ((k, _), array), h in zip(parameters, sizes):
            flat = array.reshape(-1)
            differences = np.empty((flat.size, numbers.size))
            for index in range(flat.size):
                values = []
                for change in (h, -h):
                    with _moved(flat, index, change):
                        values.append(loss(_from_layer(model, k, spikes[k], t_stop, threads), labels)[0])
                differences[index] = (values[0] - values[1]) / (2.0 * h)
            estimates.append(_by_block(differences, draws_a_block))
        return estimates

    return _until(precision, most_draws, draws_a_block, [name for name, _ in parameters], estimate)


def smoothed_gradient(
    model: Sequential,
    control: Gradients,
    loss: Loss,
    draw: Draw,
    t_stop: float,
    *,
    step: float = 0.05,
    precision: float = 0.05,
    most_draws: int = 2_000_000,
    draws_a_direction: int = 10,
    directions_a_block: int = 20,
    seed: int = 0,
    threads: int = 1,
) -> GradientBlocks:
    """Gradient of the mean loss, smoothed by Gaussian changes of all parameters at once; no loop over parameters.

    With e standard normal and h as in ``mean_gradient``,

        g = r + E[ ((L(w + h e) - L(w - h e))/2 - h e . r) e/h ]

    is without bias for the loss smoothed by h e, whatever r is (Nesterov and Spokoiny 2017, two-point estimator; r is
    a control variate). r is what ``control`` gives for the same draws, say ``by_rule(model, STRSBP(), loss, t_stop)``:
    the better it is, the less is left to the random directions, whose noise grows with the number of parameters.

    Raises ValueError : as ``mean_gradient``.
    """
    _check(step, precision, most_draws, draws_a_direction * directions_a_block)
    parameters = _parameters(model)
    arrays = [array for _, array in parameters]
    sizes = [step * _scale(model, name, array) for name, array in parameters]
    a_block = draws_a_direction * directions_a_block

    def one_block(numbers: np.ndarray) -> list[Floats]:
        rng = streams.rng("mean gradient", seed, int(numbers[0]))
        sums = [np.zeros(array.size) for array in arrays]
        for part in np.split(numbers, directions_a_block):
            inputs, labels = draw(part)
            known = [r.ravel() for r in control(inputs, labels)]
            directions = [rng.standard_normal(array.size) for array in arrays]
            values = []
            for sign in (1.0, -1.0):
                with ExitStack() as stack:
                    for array, h, e in zip(arrays, sizes, directions):
                        stack.enter_context(_moved(array, ..., sign * h * e.reshape(array.shape)))
                    values.append(float(loss(model.forward(inputs, t_stop, threads)[-1], labels)[0].mean()))
            expected = sum(h * (e @ r) for h, e, r in zip(sizes, directions, known))
            left = 0.5 * (values[0] - values[1]) - expected
            for total, h, e, r in zip(sums, sizes, directions, known):
                total += (r + left * e / h) / directions_a_block
        return sums

    def estimate(numbers: np.ndarray) -> list[Floats]:
        blocks = [one_block(part) for part in np.split(numbers, numbers.size // a_block)]
        return [np.array(block) for block in zip(*blocks)]

    return _until(precision, most_draws, a_block, [name for name, _ in parameters], estimate)


def by_rule(model: Sequential, rule: Rule, loss: Loss, t_stop: float, threads: int = 1) -> Gradients:
    """A learning rule, or SurrogateBPTT, as a function from a batch to its mean gradients."""

    def gradients(inputs: SpikeBatch, labels: np.ndarray) -> list[Floats]:
        by_layer = loss_gradients(model, rule, loss, inputs, labels, t_stop, threads)
        arrays = [g for layer, d in zip(model.layers, by_layer) for g in layer.pull_back(d).values()]
        return [g / len(inputs) for g in arrays]

    return gradients


def expected_gradient(
    model: Sequential, gradients: Gradients, draw: Draw, *, draws: int, draws_a_block: int = 50
) -> GradientBlocks:
    """Mean of ``gradients`` over draws 0 ... ``draws`` - 1, in blocks."""
    found = []
    for first in range(0, draws - draws_a_block + 1, draws_a_block):
        inputs, labels = draw(np.arange(first, first + draws_a_block))
        found.append([g.ravel() for g in gradients(inputs, labels)])
    blocks = [np.array(b) for b in zip(*found)]
    return GradientBlocks([name for name, _ in _parameters(model)], blocks, len(found) * draws_a_block)


def compare_means(of_rule: GradientBlocks, reference: GradientBlocks) -> list[MeanAgreement]:
    """A rule's mean gradient beside the reference, layer by layer, then over all layers (layer -1).

    Where both have the same number of blocks, block b of one is taken to share its draws with block b of the other:
    inner products leave such pairs out. Else the shorter one's blocks count.

    Raises ValueError : gradients of other arrays.
    """
    pairs = zip(of_rule.blocks, reference.blocks)
    if of_rule.names != reference.names or any(a.shape[1] != b.shape[1] for a, b in pairs):
        raise ValueError(f"these gradients belong to different models: {of_rule.names} and {reference.names}.")
    layers = sorted({k for k, _ in of_rule.names})
    return [_agreement(k, of_rule.of(k), reference.of(k)) for k in layers] + [
        _agreement(-1, of_rule.of(), reference.of())
    ]


def _agreement(layer: int, a: Floats, b: Floats) -> MeanAgreement:
    n = min(len(a), len(b))
    a, b = (x[: n * (len(x) // n)].reshape(n, -1, x.shape[1]).mean(axis=1) for x in (a, b))
    sums = a.sum(axis=0), b.sum(axis=0)
    products = [np.einsum("bi,bi->b", x, y) for x, y in ((a, a), (b, b), (a, b))]
    cross = [(a @ sums[0], a @ sums[0]), (b @ sums[1], b @ sums[1]), (a @ sums[1], b @ sums[0])]
    totals = [sums[0] @ sums[0], sums[1] @ sums[1], sums[0] @ sums[1]]

    def ratios(aa: Floats, bb: Floats, ab: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([ab / np.sqrt(aa * bb), np.sqrt(aa / bb)])

    whole = ratios(*[(t - p.sum()) / (n * (n - 1)) for t, p in zip(totals, products)])
    # Leave one block out: T' = T - x.S_y - y.S_x + x.y, and the diagonal loses x.y.
    m = n - 1
    without = ratios(
        *[
            ((t - left - right + p) - (p.sum() - p)) / (m * (m - 1))
            for t, p, (left, right) in zip(totals, products, cross)
        ]
    )
    error = np.sqrt((n - 1) / n * np.sum((without - without.mean(axis=1, keepdims=True)) ** 2, axis=1))
    return MeanAgreement(layer, a.shape[1], float(whole[0]), float(error[0]), float(whole[1]), float(error[1]))


def _until(
    precision: float, most_draws: int, a_block: int, names: list[tuple[int, str]],
    estimate: Callable[[np.ndarray], list[Floats]],
) -> GradientBlocks:  # fmt: skip
    """Double the draws until the noise is small enough."""
    n = 4 * a_block
    estimated = GradientBlocks(names, estimate(np.arange(n)), n)
    while estimated.noise() > precision and 2 * estimated.draws <= most_draws:
        more = estimate(np.arange(estimated.draws, 2 * estimated.draws))
        estimated = GradientBlocks(
            names, [np.concatenate(pair) for pair in zip(estimated.blocks, more)], 2 * estimated.draws
        )
    return estimated


@contextmanager
def _moved(array: Floats, index: Any, change: Any) -> Iterator[None]:
    """``change`` added at ``index``, and taken back to the bit, whatever happens in between."""
    before = np.copy(array[index])
    array[index] = before + change
    try:
        yield
    finally:
        array[index] = before


def _check(step: float, precision: float, most_draws: int, a_block: int) -> None:
    for name, value in (("step", step), ("precision", precision)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be finite and > 0; got {value}.")
    if most_draws < 4 * a_block:
        raise InputError(f"most_draws must be at least four blocks, {4 * a_block}; got {most_draws}.")


def _parameters(model: Sequential) -> list[tuple[tuple[int, str], Floats]]:
    return [((k, name), array) for k, layer in enumerate(model.layers) for name, array in layer.parameters().items()]


def _scale(model: Sequential, name: tuple[int, str], array: Floats) -> float:
    """Typical size: the root mean square of a weight, the threshold's height for a bias; 1 for a logarithm."""
    layer: Any = model.layers[name[0]]
    if name[1] == "bias":
        return float(np.abs(layer.neuron.v_th - np.asarray(layer.neuron.v_rest)).mean())
    kinds = {p.name: p.kind for p in layer.trained_arrays()}
    if kinds[name[1]] is not Kind.WEIGHT:
        return 1.0
    scale = float(np.sqrt(np.mean(array**2)))
    if not scale > 0.0:
        raise InputError(f"{name[1]} of layer {name[0]} is 0 throughout: it has no scale to move by. Draw it first.")
    return scale


def _from_layer(model: Sequential, first: int, spikes: SpikeBatch, t_stop: float, threads: int) -> Any:
    for layer in model.layers[first:]:
        spikes = layer.forward(spikes, t_stop, threads)
    return spikes


def _by_block(differences: Floats, draws_a_block: int) -> Floats:
    """(parameters, draws) -> (blocks, parameters)."""
    return differences.reshape(len(differences), -1, draws_a_block).mean(axis=2).T.copy()
