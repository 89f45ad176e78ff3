"""evsim.learning.optimisers: against hand-written loops, and their state."""

import copy

import numpy as np
import pytest

from evsim.learning import SGD, Adam

SHAPES = [(5, 7), (3, 1), (1, 1)]


def draw(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in SHAPES]


def run(optimiser, n_steps=6, threads=1, weights=None, first=0):
    """Weights after steps with gradients 100 + first, ... and falling rates."""
    weights = draw(1) if weights is None else weights
    for k in range(first, first + n_steps):
        optimiser.step(weights, draw(100 + k), 0.1 / (k + 1), threads)
    return weights


def adam_by_hand(n_steps, beta1, beta2, epsilon, decay):
    weights = draw(1)
    for w, gradients in zip(weights, zip(*(draw(100 + k) for k in range(n_steps)))):
        m, v = np.zeros_like(w), np.zeros_like(w)
        for k, g in enumerate(gradients):
            rate = 0.1 / (k + 1)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1 ** (k + 1)), v / (1 - beta2 ** (k + 1))
            w -= rate * decay * w + rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return weights


def sgd_by_hand(n_steps, momentum, decay):
    weights = draw(1)
    for w, gradients in zip(weights, zip(*(draw(100 + k) for k in range(n_steps)))):
        velocity = np.zeros_like(w)
        for k, g in enumerate(gradients):
            velocity = momentum * velocity + (g + decay * w)
            w -= 0.1 / (k + 1) * velocity
    return weights


@pytest.mark.parametrize(
    "beta1, beta2, epsilon, decay", [(0.9, 0.999, 1e-8, 0.0), (0.5, 0.8, 1e-2, 0.0), (0.9, 0.999, 1e-8, 0.3)]
)
def test_adam_is_the_published_recursion(beta1, beta2, epsilon, decay):
    got = run(Adam(beta1, beta2, epsilon, decay))
    for a, b in zip(got, adam_by_hand(6, beta1, beta2, epsilon, decay)):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_first_step_of_adam_has_the_size_of_the_rate():
    (w,), (g,) = [np.zeros(3)], [np.array([1e-3, -50.0, 2.0])]
    Adam(epsilon=0.0).step([w], [g], 0.25)
    np.testing.assert_allclose(w, [-0.25, 0.25, -0.25], rtol=1e-14)


def test_weight_decay_of_adam_is_decoupled_from_the_gradient():
    (w,) = [np.array([2.0, -4.0])]
    Adam(weight_decay=0.5).step([w], [np.zeros(2)], 0.1)
    np.testing.assert_allclose(w, [1.9, -3.8], rtol=1e-14)


@pytest.mark.parametrize("momentum, decay", [(0.0, 0.0), (0.9, 0.0), (0.9, 0.1)])
def test_sgd_is_the_heavy_ball(momentum, decay):
    for a, b in zip(run(SGD(momentum, decay)), sgd_by_hand(6, momentum, decay)):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("make", [Adam, lambda: Adam(weight_decay=0.1), lambda: SGD(0.9)])
def test_threads_change_no_bit_of_the_weights(make):
    alone = run(make())
    for threads in (2, 3, 8):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, run(make(), threads=threads)))


@pytest.mark.parametrize("make", [Adam, lambda: Adam(0.8, 0.9, 1e-4, 0.1), lambda: SGD(0.9, 0.01)])
@pytest.mark.parametrize("before", [0, 3])
def test_a_loaded_state_continues_to_the_bit(make, before):
    whole = run(make())
    optimiser = make()
    weights = run(optimiser, before)
    resumed = make()
    resumed.load(optimiser.state())
    run(resumed, 6 - before, weights=weights, first=before)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, weights))


@pytest.mark.parametrize("make", [Adam, lambda: SGD(0.9)])
def test_a_state_stays_as_it_is_while_the_optimiser_goes_on(make):
    optimiser = make()
    run(optimiser, 3)
    state = optimiser.state()
    before = copy.deepcopy(state)
    run(optimiser, 3, first=3)
    for key, value in before.items():
        if isinstance(value, list):
            assert all(np.array_equal(a, b) for a, b in zip(value, state[key]))
        else:
            assert value == state[key]


@pytest.mark.parametrize("made, loaded", [(SGD, Adam), (Adam, SGD)])
def test_the_state_of_another_optimiser_is_refused(made, loaded):
    with pytest.raises(ValueError, match="of kind"):
        loaded().load(made().state())


def test_steps_change_the_arrays_in_place():
    for optimiser in (Adam(), SGD()):
        weights = draw(1)
        same = list(weights)
        run(optimiser, 1, weights=weights)
        assert all(a is b for a, b in zip(weights, same))
        assert not np.array_equal(weights[0], draw(1)[0])


@pytest.mark.parametrize("optimiser", [Adam(), SGD()])
def test_weights_in_another_memory_order_are_refused_not_skipped(optimiser) -> None:
    w = np.ones((3, 2)).T
    with pytest.raises(ValueError, match="ascontiguousarray"):
        optimiser.step([w], [np.ones((2, 3))], 0.1)
