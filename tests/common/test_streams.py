"""Random streams: one table, no two of them equal, and those that were never equal keep their bits."""

from __future__ import annotations

import ast
from itertools import product

import numpy as np
import pytest

import evsim
from evsim import LIF, Network, streams
from evsim.learning import Dense, Sequential
from helpers.paths import ROOT

EDGES = [0, 1, 2, 3, 7, 8, 2**30 - 1, 2**30, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 2**62, 2**64 - 1]


def padded(key: list[int]) -> tuple[int, ...]:
    """What numpy makes of a key: it fills four words with zeros."""
    assert all(0 <= word < 2**32 for word in key)
    return (*key, *[0] * (4 - len(key)))


def test_numpy_pads_short_keys_with_zeros() -> None:
    """Why [seed, 1] and [seed, 1, 0] were one stream."""

    def first(key: list[int]) -> float:
        return np.random.default_rng(key).random()

    assert first([5, 1]) == first([5, 1, 0]) == first([5, 1, 0, 0]) != first([5, 1, 0, 0, 0])
    assert first([2**32 + 5]) == first([5, 1])


def test_no_two_streams_have_the_same_key() -> None:
    """Every purpose, with seeds and ids at and around all the borders of their words."""
    owner: dict[tuple[int, ...], tuple[object, ...]] = {}
    for purpose, entry in streams.PURPOSES.items():
        for seed, *ids in product(EDGES, repeat=1 + len(entry.ids)):
            key = padded(streams.key(purpose, seed, *ids))
            assert owner.setdefault(key, (purpose, seed, *ids)) == (purpose, seed, *ids)
    assert len(owner) > 10_000


def test_purposes_have_numbers_of_their_own() -> None:
    numbers = [entry.number for entry in streams.PURPOSES.values()]
    assert len(set(numbers)) == len(numbers) and min(numbers) > 0
    assert len(set(streams.KERNEL_PURPOSES.values())) == len(streams.KERNEL_PURPOSES)


def test_the_first_numbers_of_all_purposes_differ() -> None:
    drawn = []
    for purpose, entry in streams.PURPOSES.items():
        for ids in product(range(4), repeat=len(entry.ids)):
            drawn.append(streams.rng(purpose, 1, *ids).random())
    assert len(set(drawn)) == len(drawn)


def test_streams_that_were_never_equal_keep_their_bits() -> None:
    kept = {
        ("synapses", 3, 2, 5): [3, 2, 6],
        ("drive", 3, 2, 5): [3, 2, 5, 1],
        ("parameters", 3, 2, 5): [3, 2**30, 2, 5],
        ("potentials", 3, 2): [3, 2**31, 2],
        ("data set", 3): [3],
        ("augmentation", 3, 2, 5): [3, 2, 5, 8],
    }
    for (purpose, *numbers), words in kept.items():
        assert streams.rng(str(purpose), *numbers).random() == np.random.default_rng(words).random()
    own = np.random.SeedSequence([3, 2, 5, 1]).generate_state(4, np.uint64)
    assert np.array_equal(streams.words(4, "drive", 3, 2, 5), own)


def test_weights_feedback_split_and_data_are_different_draws() -> None:
    """With one seed they were one: random feedback was the matrix of initial weights."""
    model = Sequential(Dense(3, 4, LIF()), Dense(4, 5, LIF()))
    model.init(1)
    for k, weight in enumerate(model.weights):
        for purpose, *ids in (("feedback", k), ("feedback", k + 1), ("validation",), ("data set",), ("shuffling", 0)):
            other = streams.rng(str(purpose), 1, *map(int, ids)).uniform(-1.0, 1.0, weight.shape)
            assert not np.any(np.isclose(weight, other))


def test_kernel_keys_are_those_of_seed_epoch_and_sample() -> None:
    assert streams.kernel_keys("spikes", 1, 2, [3, 4]).tolist() == [[1, 2, 3], [1, 2, 4]]
    assert streams.kernel_keys("dropout", 1, -1, [3]).tolist() == [[1, 2**64 - 1, 3, 7]]
    assert streams.kernel_keys("spikes", -1, 0, [0]).tolist() == [[2**64 - 1, 0, 0]]
    for seed in (2**63, -(2**63) - 1, 0.5, "1", None):
        with pytest.raises(ValueError, match="seed must be an integer of 64 bits; got"):
            streams.kernel_keys("spikes", seed, 0, [0])  # type: ignore[arg-type]


SOURCES = sorted(p for folder in ("evsim", "learning", "io") for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_all_generators_come_from_the_table(source) -> None:
    if source == ROOT / "evsim" / "streams.py":
        return
    makers = {"default_rng", "SeedSequence", "PCG64", "Philox", "seed_stream", "RandomState"}
    allowed = {"io/formula.py": {"RandomState"}}  # the published Yin-Yang arrays are made with it
    here = source.relative_to(ROOT).as_posix()
    called = {
        getattr(node.func, "attr", getattr(node.func, "id", ""))
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    if "_kernels" not in here:
        assert not (called & makers) - allowed.get(here, set())


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True, [1], np.float64(3.0)])
def test_a_seed_that_is_none_is_refused_in_a_sentence(seed) -> None:
    for door in (streams.check_seed, Sequential(Dense(1, 1, LIF())).init):
        with pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\^64 - 1; got"):
            door(seed)


@pytest.mark.parametrize("seed", [2**32, 2**63, 2**64 - 1, np.uint64(5), np.int8(5)])
def test_seeds_of_64_bits_are_taken_and_are_seeds_of_their_own(seed) -> None:
    net = Network()
    net.add_population("a", 100, LIF(tau_syn=None))
    net.connect("a", "a", weight=0.2, delay=1.0, rule=evsim.FixedIndegree(5))
    net.add_poisson("a", rate=500.0, weight=0.3)
    rec = net.simulate(20.0, seed=seed)
    assert len(rec["a"]) > 0
    other = net.simulate(20.0, seed=int(seed) % 2**32 if int(seed) >= 2**32 else 6)
    assert not np.array_equal(rec["a"].times, other["a"].times)


def test_an_id_that_a_purpose_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="a stream of synapses is named by projection, block of targets; got"):
        streams.rng("synapses", 1, 2)
    with pytest.raises(ValueError, match="a stream of validation is named by the seed alone"):
        streams.rng("validation", 1, 2)
