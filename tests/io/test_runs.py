"""evsim.io.runs: recordings, checkpoints, tables and summaries."""

import csv
import errno
import json
import math
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evsim.errors import DataError, RunFileError
from evsim.io import hdf5, runs
from evsim.spikes import SpikeTrains
from helpers.examples import examples
from helpers.resealed import edited

STATE = {key: None for key in runs.RUN_KEYS} | {"weights": [np.eye(2)], "seed": 1, "epoch": 2}
TIMES = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=TIMES, size=st.integers(1, 5), t_stop=st.floats(0, 1e9))
def test_a_recording_comes_back_bit_for_bit_ties_in_order(tmp_path, times, size, t_stop):
    times = times + times
    spikes = {
        "out": SpikeTrains(times, [k % size for k in range(len(times))], size),
        "silent": SpikeTrains([], [], 4),
    }
    runs.save_recording(tmp_path / "run.h5", spikes, t_stop, {"seed": 2**127, "rate": np.float64(0.1)})
    recorded = runs.load_recording(tmp_path / "run.h5")
    assert list(recorded.spikes) == ["out", "silent"]
    for name, train in spikes.items():
        assert recorded.spikes[name].times.tobytes() == train.times.tobytes()
        assert recorded.spikes[name].neurons.tobytes() == train.neurons.tobytes()
        assert recorded.spikes[name].size == train.size
    assert recorded.t_stop == t_stop
    assert recorded.meta == {"seed": 2**127, "rate": 0.1}


@pytest.mark.parametrize("t_stop", [math.nan, math.inf, -1.0])
def test_an_impossible_end_is_refused(tmp_path, t_stop):
    with pytest.raises(ValueError, match="t_stop"):
        runs.save_recording(tmp_path / "run.h5", {}, t_stop, {})


@pytest.mark.parametrize(
    "train", [{"times": np.zeros(1)}, {"times": np.zeros(1), "neurons": np.array([7]), "size": 2}, 3]
)
def test_a_recording_that_contradicts_itself_is_refused(tmp_path, train):
    hdf5.write_tree(tmp_path / "r.h5", {"t_stop": 1.0, "spikes": {"out": train}, "meta": {}}, "recording")
    with pytest.raises(RunFileError, match="valid spike trains"):
        runs.load_recording(tmp_path / "r.h5")


def test_a_recording_without_its_entries_is_refused(tmp_path):
    hdf5.write_tree(tmp_path / "r.h5", {"spikes": {}}, "recording")
    with pytest.raises(RunFileError, match="lacks t_stop, meta"):
        runs.load_recording(tmp_path / "r.h5")


def test_a_run_comes_back(tmp_path):
    runs.save_run(tmp_path / "run.h5", STATE)
    state = runs.load_run(tmp_path / "run.h5")
    assert list(state) == list(STATE)
    assert np.array_equal(state["weights"][0], np.eye(2))
    assert state["epoch"] == 2


@pytest.mark.parametrize("key", runs.RUN_KEYS)
def test_a_run_without_what_resuming_needs_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match=key):
        runs.save_run(tmp_path / "run.h5", {k: v for k, v in STATE.items() if k != key})
    runs.save_run(tmp_path / "run.h5", STATE)
    with edited(tmp_path / "run.h5") as file:
        del file[key]
    with pytest.raises(RunFileError, match=f"lacks {key}"):
        runs.load_run(tmp_path / "run.h5")


def test_a_recording_is_not_a_run(tmp_path):
    runs.save_recording(tmp_path / "r.h5", {}, 1.0, {})
    with pytest.raises(RunFileError, match="a run was asked for"):
        runs.load_run(tmp_path / "r.h5")


def test_json_takes_numpy_numbers_and_arrays(tmp_path):
    obj = {"a": np.float64(0.1), "n": np.int64(3), "b": np.bool_(True), "v": np.arange(2), "name": "é"}
    runs.write_json(tmp_path / "s.json", obj)
    read = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert read == {"a": 0.1, "n": 3, "b": True, "v": [0, 1], "name": "é"}


@pytest.mark.parametrize(
    ("value", "kind"), [(math.nan, ValueError), (np.float32(np.inf), ValueError), ({1}, TypeError)]
)
def test_json_that_no_reader_would_take_is_refused_and_the_old_file_kept(tmp_path, value, kind):
    runs.write_json(tmp_path / "s.json", 1)
    with pytest.raises(kind):
        runs.write_json(tmp_path / "s.json", {"x": value})
    assert (tmp_path / "s.json").read_text() == "1\n"


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=8), cut=st.integers(0, 8))
def test_csv_keeps_every_digit_and_appending_equals_writing_at_once(tmp_path, values, cut):
    rows = [{"epoch": np.int64(k), "loss": np.float64(v)} for k, v in enumerate(values)]
    path = tmp_path / "metrics.csv"
    path.unlink(missing_ok=True)
    runs.append_csv(path, rows[:cut])
    runs.append_csv(path, rows[cut:])
    runs.write_csv(tmp_path / "once.csv", rows)
    assert path.read_bytes() == (tmp_path / "once.csv").read_bytes()
    with open(path, newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == values


def test_a_new_csv_column_joins_at_the_right(tmp_path):
    runs.write_csv(tmp_path / "m.csv", [{"epoch": 1, "note": 'a "b", c\nd'}])
    runs.append_csv(tmp_path / "m.csv", [{"epoch": 2, "note": "", "loss": 0.5}])
    assert (tmp_path / "m.csv").read_text() == 'epoch,note,loss\n1,"a ""b"", c\nd",\n2,,0.5\n'


@pytest.mark.parametrize("content", [b"a,b\n1,2,3\n", b"a,b\n1\n", b"\xff\xfe,a\n1,2\n", b'a,b\n"1'])
def test_appending_to_what_is_not_a_table_is_refused_and_changes_nothing(tmp_path, content):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.csv"):
        runs.append_csv(tmp_path / "m.csv", [{"a": 1}])
    assert (tmp_path / "m.csv").read_bytes() == content


def test_a_full_disk_keeps_the_old_table_and_summary(tmp_path, monkeypatch):
    runs.write_csv(tmp_path / "m.csv", [{"a": 1}])
    runs.write_json(tmp_path / "s.json", 1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for save in (
        lambda: runs.append_csv(tmp_path / "m.csv", [{"a": 2}]),
        lambda: runs.write_json(tmp_path / "s.json", 2),
    ):
        with pytest.raises(OSError, match="free space") as caught:
            save()
        assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "m.csv").read_text() == "a\n1\n"
    assert (tmp_path / "s.json").read_text() == "1\n"
    assert sorted(os.listdir(tmp_path)) == ["m.csv", "s.json"]


def test_files_of_two_runs_are_told_apart_also_where_they_have_no_id():
    same = {"id": runs.run_id({"seed": 1}), "run": {"seed": 1}}
    runs.check_same_run("run.h5", same, dict(same))
    runs.check_same_run("run.h5", {"run": {"seed": 1}}, {"run": {"seed": 1}})
    assert runs.run_id({"seed": 1}) != runs.run_id({"seed": 2})
    for other in ({"id": runs.run_id({"seed": 2})}, {"run": {"seed": 1}}):
        with pytest.raises(RunFileError, match="not of the same run"):
            runs.check_same_run("run.h5", other, same)
    with pytest.raises(RunFileError, match="not of the same run"):
        runs.check_same_run("run.h5", {"run": {"seed": 2}}, {"run": {"seed": 1}})
