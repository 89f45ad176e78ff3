"""Saved states of simulations: whatever a file says, a kernel sees only numbers that are in their range."""

import copy

import numpy as np
import pytest

import evsim
import evsim.engine.simulation
from evsim._kernels.window.arrays import CHUNK, NO_CHUNK
from evsim.engine.window.state import packed_calendar, unpacked_calendar
from evsim.io import runs
from helpers.paths import SCHEMA_1

INPUT = {"in": evsim.SpikeTrains([1.0, 12.0, 31.0], [0, 1, 2], 3)}


def network(bias=0.0, plastic=False):
    """That of the older states, or one that spikes often."""
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("a", 8, evsim.LIF(tau_m=10.0, tau_syn=(2.0, 4.0), t_ref=1.0, bias=bias))
    net.connect("in", "a", weight=0.5, delay=20.0, plasticity=evsim.STDP(w_max=2.0) if plastic else None)
    net.connect("a", "a", weight=-0.1, delay=lambda rng, n: rng.uniform(2.0, 4.0, n), rule=evsim.FixedIndegree(3))
    net.add_poisson("a", rate=800.0, weight=0.5)
    return net


def simulation(driver, state=None, plastic=False, bias=2.0):
    return evsim.Simulation(network(bias, plastic), seed=3, driver=driver, state=state)


def stopped(driver, plastic=False, bias=2.0):
    sim = simulation(driver, plastic=plastic, bias=bias)
    sim.advance_to(15.3, INPUT)
    return sim


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_a_state_of_an_earlier_version_goes_on(driver):
    state, meta = runs.load_state(SCHEMA_1 / f"state_{driver}.h5")
    assert meta == {"who": "old"}
    whole = stopped(driver, bias=0.0).advance_to(40.0)
    resumed = simulation(driver, state, bias=0.0).advance_to(40.0)
    assert np.array_equal(resumed["a"].neurons, whole["a"].neurons) and len(whole["a"]) == 4
    assert np.allclose(resumed["a"].times, whole["a"].times, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_equal_states_are_equal_bytes_and_hold_what_is_in_use(tmp_path, driver):
    for name in "ab":
        # Memory that is handed out again is not zero.
        del_me = [np.full(k, np.pi) for k in (1024, 4096, 9000, 70_000)]
        del del_me
        runs.save_state(tmp_path / name, stopped(driver).state(), {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size < (SCHEMA_1 / f"state_{driver}.h5").stat().st_size
    again = simulation(driver, runs.load_state(tmp_path / "a")[0])
    runs.save_state(tmp_path / "c", again.state(), {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def leaves(tree, path=()):
    """Paths of all arrays and numbers below the engine."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else None
    if items is None:
        yield path
        return
    for key, value in items:
        yield from leaves(value, (*path, key))


def get(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def put(tree, path, value):
    get(tree, path[:-1])[path[-1]] = value


def wrong_types(value):
    if not isinstance(value, np.ndarray):
        return [None, "x", np.zeros(3), -1, -1e300, True, 10**30, float("nan"), [1]]
    # Types that no array of a state has, and shapes.
    return [
        None, 3, value.tolist(), np.zeros(value.shape, ">i2"), np.zeros(value.shape, "f4"),
        value.astype(value.dtype.newbyteorder()) if value.itemsize > 1 else None, value[..., None], value[None],
        np.zeros((2, 3, 5, 1), value.dtype), np.zeros((), value.dtype),
    ]  # fmt: skip


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_another_type_or_shape_anywhere_is_refused(driver):
    sim = stopped(driver)
    state = sim.state()
    for path in leaves(state):
        for wrong in wrong_types(get(state, path)):
            other = copy.deepcopy(state)
            put(other, path, wrong)
            with pytest.raises(ValueError, match=r"state (is damaged|belongs)"):
                simulation(driver, other)


INDICES = {
    "queue": [("state", k) for k in (0, 1, 2)] + [("neurons", 7), ("neurons", 8)] + [("pending", k) for k in (2, 3, 4)]
    + [("inputs", 1)],
    "window": [("mutable", 1, 0), ("mutable", 2, 0)] + [("spikes", k) for k in (1, 3)]
    + [("mutable", 3, k) for k in (0, 1, 2, 3, 8)],
}  # fmt: skip


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_no_index_beyond_its_range_reaches_a_kernel(driver):
    """A single wrong entry of any array that the kernels index with, or count with."""
    state = stopped(driver).state()
    root = ("engine", "queue") if driver == "queue" else ("engine",)
    random = np.random.default_rng(0)
    tried = 0
    for place in INDICES[driver]:
        path, entry = ((*root, "state"), place[1]) if place[0] == "state" else ((*root, *place), None)
        array = get(state, path)
        used = array != NO_CHUNK if place[0] == "mutable" else np.ones(array.shape, bool)
        places = [entry] if entry is not None else random.permutation(np.flatnonzero(used))[:5]
        for k in places:
            for wrong in (-2, 10**6, np.iinfo(array.dtype).max):
                if wrong < 0 and array.dtype.kind == "u":
                    continue
                other = copy.deepcopy(state)
                get(other, path).reshape(-1)[k] = min(wrong, np.iinfo(array.dtype).max)
                if get(other, path).reshape(-1)[k] == array.reshape(-1)[k]:
                    continue
                unused = place in (("mutable", 3, 8), ("mutable", 3, 2), ("mutable", 3, 1), ("mutable", 3, 3))
                try:
                    sim = simulation(driver, other)
                except ValueError:
                    tried += 1
                    continue
                # Places of a calendar that no list uses are not looked at, and not kept.
                assert unused, (path, k, wrong)
                assert sim.state()["engine"]["mutable"][3][place[2]].reshape(-1)[k] == array.reshape(-1)[k]
    assert tried > 50


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_no_number_that_is_none_is_taken(driver):
    state = stopped(driver).state()
    for path in leaves(state["engine"]):
        array = get(state["engine"], path)
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size:
            continue
        for wrong in (np.nan, -np.inf):
            other = copy.deepcopy(state)
            if path[:2] == ("mutable", 3):
                get(other["engine"], path)[:] = wrong
            else:
                get(other["engine"], path).reshape(-1)[0] = wrong
            with pytest.raises(ValueError, match="damaged"):
                simulation(driver, other)


@pytest.mark.parametrize("change", ["early key", "early arrival", "early input", "other time"])
def test_a_queue_state_whose_times_lie_in_the_past_is_refused(change):
    """Such a state makes no progress, or emits spikes before the time reached."""
    state = stopped("queue").state()
    q = state["engine"]["queue"]
    if change == "early key":
        q["neurons"][6][q["neurons"][7][0]] = 1.0
    if change == "early arrival":
        q["pending"][0][0] = 1.0
    if change == "early input":
        q["inputs"][0][:] = 1.0
        q["state"][2] = 0
    if change == "other time":
        state["time"] = 30.0
    with pytest.raises(ValueError, match="damaged"):
        simulation("queue", state)


def test_a_window_state_at_another_time_is_refused():
    state = stopped("window").state()
    state["time"] = 30.0
    with pytest.raises(ValueError, match="does not stand at 30"):
        simulation("window", state)


def test_weights_and_traces_of_plastic_synapses_are_checked():
    state = stopped("queue", plastic=True).state()
    simulation("queue", copy.deepcopy(state), plastic=True)
    q = state["engine"]["queue"]
    for place in [("weight",), ("traces", 0), ("traces", 3)]:
        for wrong in (get(q, place)[:-1], get(q, place) * np.nan):
            other = copy.deepcopy(state)
            put(other["engine"]["queue"], place, wrong)
            with pytest.raises(ValueError, match="damaged"):
                simulation("queue", other, plastic=True)


def test_a_calendar_taken_apart_and_put_together_is_the_same():
    random = np.random.default_rng(1)
    counts = random.integers(0, 3 * CHUNK, (3, 7)) * random.integers(0, 2, (3, 7))
    n = int(counts.sum())
    packed = [counts, random.random(n), random.random(n), random.integers(0, 9, n).astype(np.uint16)]
    for room in (0, 5):
        calendar = unpacked_calendar(packed, room)
        assert [a.tobytes() for a in packed_calendar(calendar)] == [a.tobytes() for a in packed]
        assert np.all(calendar.n_free >= room)
        for b in range(3):
            free, used = calendar.free[b, : calendar.n_free[b]], -(-counts[b] // CHUNK)
            assert sorted(free) == list(range(used.sum(), calendar.following.shape[1]))


def test_lists_of_a_calendar_that_run_in_a_circle_are_refused():
    state = stopped("window").state()
    head, tail, _, following = state["engine"]["mutable"][3][:4]
    b, slot = np.argwhere(head != NO_CHUNK)[0]
    following[b, head[b, slot]] = head[b, slot]
    tail[b, slot] = head[b, slot] + 1
    with pytest.raises(ValueError, match="without an end"):
        simulation("window", state)


DRAWN = {
    "outdegree": (600, 3, dict(rule=evsim.FixedOutdegree(2), weight=0.1, delay=1.0)),
    "total number": (600, 3, dict(rule=evsim.FixedTotalNumber(50), weight=0.1, delay=1.0)),
    "values by source": (600, 3, dict(rule=evsim.AllToAll(), weight=np.linspace(0.0, 1.0, 3 * 600), delay=1.0)),
    "values of an outdegree": (8, 3, dict(rule=evsim.FixedOutdegree(2), weight=np.linspace(0.0, 1.0, 6), delay=1.0)),
    "a large seed": (8, 2**32 + 3, dict(rule=evsim.FixedIndegree(2), weight=0.1, delay=1.0)),
    "a large seed, delays": (8, 2**32, dict(weight=0.1, delay=lambda rng, n: rng.uniform(1.0, 2.0, n))),
}
SAME = {
    "outdegree, one block": (512, 3, dict(rule=evsim.FixedOutdegree(2), weight=0.1, delay=1.0)),
    "values, one block": (512, 3, dict(rule=evsim.AllToAll(), weight=np.linspace(0.0, 1.0, 3 * 512), delay=1.0)),
    "indegree": (600, 3, dict(rule=evsim.FixedIndegree(2), weight=np.linspace(0.0, 1.0, 1200), delay=1.0)),
    "nothing drawn": (8, 2**32, dict(weight=0.1, delay=1.0)),
}


def of_version_1(size, seed, connection, monkeypatch):
    """A simulation, and its state with what version 1 said of the network."""
    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("a", size, evsim.LIF())
    net.connect("in", "a", **connection)
    sim = evsim.Simulation(net, seed=seed)
    sim.advance(1.0)
    with monkeypatch.context() as old:
        old.setattr(evsim.engine.simulation, "names_of_sampled", lambda *_: [])
        old.setattr(evsim.streams, "renamed", lambda *_: [])
        state = sim.state()
    evsim.Simulation(net, seed=seed, state=sim.state()).advance(1.0)
    return net, state


@pytest.mark.parametrize("kind", DRAWN)
def test_a_state_whose_synapses_would_be_drawn_otherwise_today_is_refused(kind, monkeypatch):
    size, seed, connection = DRAWN[kind]
    net, state = of_version_1(size, seed, connection, monkeypatch)
    with pytest.raises(ValueError, match="earlier version of evsim, which draws other synapses or drive"):
        evsim.Simulation(net, seed=seed, state=state)


@pytest.mark.parametrize("kind", SAME)
def test_a_state_whose_synapses_are_the_same_today_goes_on(kind, monkeypatch):
    size, seed, connection = SAME[kind]
    net, state = of_version_1(size, seed, connection, monkeypatch)
    evsim.Simulation(net, seed=seed, state=state).advance(1.0)
