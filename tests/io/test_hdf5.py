"""evsim.io.hdf5 and evsim.io.atomic: exact round trips, and no half-written file in any circumstance."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import evsim.io
from evsim.errors import RunFileError
from evsim.io import atomic, hdf5
from helpers.examples import examples
from helpers.resealed import edited

SMALL = {"weights": [np.arange(6.0).reshape(2, 3)], "seed": 3, "name": "old"}

ARRAYS = hnp.arrays(
    st.sampled_from(["<f8", ">f8", "f4", "f2", "i1", ">i4", "i8", "u8", "?", "c16"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
NUMPY_SCALARS = st.sampled_from(
    [np.float32(0.1), np.float64(-0.0), np.int16(-3), np.bool_(True), np.uint64(2**63)]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(st.characters(codec=None)),
    ARRAYS,
    NUMPY_SCALARS,
    st.lists(st.floats()),
    st.lists(st.integers()).map(tuple),
)
TREES = st.dictionaries(
    st.text(),
    st.recursive(
        LEAVES,
        lambda child: st.one_of(
            st.lists(child, max_size=3),
            st.lists(child, max_size=3).map(tuple),
            st.dictionaries(st.text(), child, max_size=3),
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a, b):
    """Equal in type, structure, order of keys and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return a == b


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_any_tree_comes_back_bit_for_bit(tmp_path, tree):
    hdf5.write_tree(tmp_path / "tree.h5", tree, "run")
    assert same(hdf5.read_tree(tmp_path / "tree.h5", "run"), tree)


def test_the_state_of_a_random_generator_comes_back(tmp_path):
    generator = np.random.default_rng(5)
    hdf5.write_tree(tmp_path / "r.h5", {"random": generator.bit_generator.state}, "run")
    other = np.random.default_rng(6)
    other.bit_generator.state = hdf5.read_tree(tmp_path / "r.h5", "run")["random"]
    assert np.array_equal(other.random(5), generator.random(5))


def test_keys_that_hdf5_reserves_and_their_order_come_back(tmp_path):
    tree = {"z": {"/": 1, ".": 2, "..": 3, "": 4, "%": 5, "%2F": 6, "a/b": 7, "\0": 8}, "a": 1}
    tree |= {f"k{20 - i}": i for i in range(20)}
    hdf5.write_tree(tmp_path / "keys.h5", tree, "run")
    assert same(hdf5.read_tree(tmp_path / "keys.h5", "run"), tree)


def test_the_same_tree_gives_the_same_bytes_and_is_browsable(tmp_path):
    for name in ("a.h5", "b.h5"):
        hdf5.write_tree(tmp_path / name, SMALL, "run")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["weights/0"], SMALL["weights"][0])
        assert file.attrs["format"] == b"evsim"
        assert file.attrs["schema"] == hdf5.SCHEMA
        assert file.attrs["complete"]


@pytest.mark.parametrize(
    "value", [{1}, object(), np.array(["a"]), np.array([None]), {3: 1}, 1j, np.ma.masked_array([1.0], [True])]
)
def test_a_value_that_cannot_come_back_exactly_is_refused_by_its_place(tmp_path, value):
    with pytest.raises(TypeError, match="/outer"):
        hdf5.write_tree(tmp_path / "x.h5", {"outer": {"inner": value}}, "run")
    assert os.listdir(tmp_path) == []


def test_wrong_kind_or_tree_is_refused(tmp_path):
    with pytest.raises(ValueError, match="recording"):
        hdf5.write_tree(tmp_path / "x.h5", {}, "novel")
    with pytest.raises(TypeError, match="dict"):
        hdf5.write_tree(tmp_path / "x.h5", [1], "run")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.h5"):
        hdf5.read_tree(tmp_path / "absent.h5", "run")


def test_a_file_truncated_anywhere_is_refused(tmp_path):
    path = tmp_path / "t.h5"
    hdf5.write_tree(path, SMALL, "run")
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 95, *range(100, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(RunFileError, match=r"truncated|damaged"):
            hdf5.read_tree(path, "run")


def test_damaged_bytes_give_a_clear_error_or_the_values_never_a_crash(tmp_path):
    path = tmp_path / "d.h5"
    hdf5.write_tree(path, SMALL | {"text": "x", "list": [1, None]}, "run")
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for place in random.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            hdf5.read_tree(path, "run")
        except RunFileError as error:
            assert "d.h5" in str(error)


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "text").write_text("epoch,loss\n" * 100)
    with pytest.raises(RunFileError, match="of another format"):
        hdf5.read_tree(tmp_path / "text", "run")


def test_foreign_hdf5_is_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["weights"] = [1.0]
        file.attrs["format"] = "nwb"
    with pytest.raises(RunFileError, match="evsim did not write it"):
        hdf5.read_tree(tmp_path / "f.h5", "run")


def test_another_kind_is_refused(tmp_path):
    hdf5.write_tree(tmp_path / "r.h5", SMALL, "recording")
    with pytest.raises(RunFileError, match="holds a recording, but a run"):
        hdf5.read_tree(tmp_path / "r.h5", "run")


@pytest.mark.parametrize(
    ("mark", "value", "message"),
    [
        ("schema", hdf5.SCHEMA + 1, "Update evsim"),
        ("schema", None, "which schema"),
        ("complete", None, "never finished"),
        ("complete", False, "never finished"),
    ],
)
def test_marks_that_do_not_fit_are_refused(tmp_path, mark, value, message):
    hdf5.write_tree(tmp_path / "m.h5", SMALL, "run")
    with edited(tmp_path / "m.h5") as file:
        del file.attrs[mark]
        if value is not None:
            file.attrs[mark] = value
    with pytest.raises(RunFileError, match=message):
        hdf5.read_tree(tmp_path / "m.h5", "run")


@pytest.mark.parametrize("entry", ["weights/0", "mixed/1"])
def test_a_list_with_a_gap_is_refused(tmp_path, entry):
    hdf5.write_tree(tmp_path / "m.h5", {"weights": [np.ones(1), None], "mixed": (1, "a", 2.0)}, "run")
    with edited(tmp_path / "m.h5") as file:
        del file[entry]
    with pytest.raises(RunFileError, match=f"{entry} is missing"):
        hdf5.read_tree(tmp_path / "m.h5", "run")


def test_an_object_that_evsim_did_not_write_is_refused(tmp_path):
    hdf5.write_tree(tmp_path / "m.h5", SMALL, "run")
    with edited(tmp_path / "m.h5") as file:
        file["stranger"] = 1
    with pytest.raises(RunFileError, match="stranger has the unknown type"):
        hdf5.read_tree(tmp_path / "m.h5", "run")


def old_file_survives(folder, code):
    """A failing save keeps the old file, leaves nothing else behind, and tells what to do."""
    with pytest.raises(OSError, match=r"run\.h5.*free space.*--out.*untouched") as caught:
        hdf5.write_tree(folder / "run.h5", {"new": np.zeros(100_000)}, "run")
    assert caught.value.errno == code
    assert isinstance(caught.value.__cause__, OSError)
    assert os.listdir(folder) == ["run.h5"]
    assert same(hdf5.read_tree(folder / "run.h5", "run"), SMALL)


def test_a_disk_that_fills_up_at_fsync_keeps_the_old_file(tmp_path, monkeypatch):
    hdf5.write_tree(tmp_path / "run.h5", SMALL, "run")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    old_file_survives(tmp_path, errno.ENOSPC)


def test_a_write_beyond_the_size_limit_of_the_process_keeps_the_old_file(tmp_path):
    hdf5.write_tree(tmp_path / "run.h5", SMALL, "run")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        old_file_survives(tmp_path, errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_really_full_disk_keeps_the_old_file(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    try:
        hdf5.write_tree(folder / "run.h5", SMALL, "run")
        old_file_survives(folder, errno.ENOSPC)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_bytes_are_on_the_disk_before_the_name_is_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (calls.append("fsync"), fsync(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    hdf5.write_tree(tmp_path / "run.h5", SMALL, "run")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_cannot_be_synced_is_told_only_if_that_is_a_failure(tmp_path, monkeypatch):
    fsync = os.fsync
    for code, fails in ((errno.EINVAL, False), (errno.EIO, True)):
        calls = []

        def second_fails(descriptor, calls=calls, code=code):
            calls.append(descriptor)
            if len(calls) == 2:
                raise OSError(code, os.strerror(code))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", second_fails)
        if fails:
            with pytest.raises(OSError, match="new file is in place"):
                atomic.write_text(tmp_path / "f", "new")
        else:
            atomic.write_text(tmp_path / "f", "new")
        assert (tmp_path / "f").read_text() == "new"


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "f", b"x")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_and_a_folder_in_the_way_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it"):
        atomic.write_bytes(tmp_path / "none" / "f", b"x")
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError, match="choose another name"):
        atomic.write_bytes(tmp_path / "f", b"x")
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_stays_a_link_and_the_umask_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    before = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "link", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


SAVER = """
import sys, numpy as np
from evsim.io import hdf5
k = 0
while True:
    hdf5.write_tree(sys.argv[1], {"k": k, "a": np.full(500_000, float(k)), "end": k}, "run")
    k += 1
"""


def test_kill_9_while_saving_again_and_again_leaves_a_readable_file(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    paths = [tmp_path / f"{k}.h5" for k in range(6)]
    children = [subprocess.Popen([sys.executable, "-c", SAVER, str(p)], env=environment) for p in paths]
    try:
        deadline = time.monotonic() + 300
        while not all(p.exists() for p in paths) and time.monotonic() < deadline:
            time.sleep(0.01)
        for child in children:
            time.sleep(0.037)
            child.send_signal(signal.SIGKILL)
    finally:
        for child in children:
            child.kill()
            child.wait()
    for path in paths:
        tree = hdf5.read_tree(path, "run")
        assert tree["k"] == tree["end"]
        assert np.array_equal(tree["a"], np.full(500_000, float(tree["k"])))


def test_the_room_has_no_init_file_so_that_it_never_shadows_the_standard_io():
    assert getattr(evsim.io, "__file__", None) is None
    assert not (Path(hdf5.__file__).parent / "__init__.py").exists()
