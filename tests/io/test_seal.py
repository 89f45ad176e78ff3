"""evsim files are sealed, older ones still load, and no file reaches beyond itself."""

import errno
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from evsim.errors import RunFileError
from evsim.io import hdf5, runs
from evsim.spikes import SpikeTrains
from helpers.paths import SCHEMA_1
from helpers.resealed import edited

"""Files written by the last version whose files had no checksum."""


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "run.h5"
    runs.save_recording(path, {"a": SpikeTrains([1.0, 2.5], [0, 1], 2)}, 3.0, {"seed": 1})
    return path


def test_no_changed_byte_goes_unnoticed(recording):
    whole = recording.read_bytes()
    random = np.random.default_rng(1)
    for place in [*range(0, 512, 7), *random.integers(0, len(whole), 400)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        recording.write_bytes(damaged)
        with pytest.raises(RunFileError, match=r"run\.h5.*(damaged|not a complete HDF5)"):
            runs.load_recording(recording)


def test_bytes_left_out_added_or_moved_are_noticed(recording):
    whole = recording.read_bytes()
    for other in (whole[:-1], whole + b"\0", whole[:700] + whole[701:], whole[:600] + whole[700:] + whole[600:700]):
        recording.write_bytes(other)
        with pytest.raises(RunFileError, match="checksum"):
            runs.load_recording(recording)


def test_a_file_whose_checksum_was_cut_off_is_refused(recording):
    recording.write_bytes(recording.read_bytes()[512:])
    with pytest.raises(RunFileError, match="checksum has been taken away"):
        runs.load_recording(recording)


def test_the_seal_can_be_checked_without_evsim(recording):
    line = recording.read_bytes().split(b"\n")[0].decode()
    found = subprocess.run(f"tail -c +513 {recording} | sha256sum", shell=True, capture_output=True, text=True)
    assert found.stdout.split()[0] == line.split()[-1]


def test_a_changed_file_is_refused_before_the_hdf5_library_sees_it(recording):
    recording.write_bytes(recording.read_bytes()[:-1] + b"x")
    code = (
        "import sys; from evsim.io import runs\n"
        f"try: runs.load_recording({os.fspath(recording)!r})\n"
        "except ValueError: print('h5py' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_recording_without_a_checksum_of_an_earlier_version_loads():
    recorded = runs.load_recording(SCHEMA_1 / "recording.h5")
    assert recorded.t_stop == 15.3 and len(recorded.spikes["a"]) == 2 and recorded.meta == {"seed": 3}


def test_damage_of_an_earlier_versions_file_is_an_error_or_a_recording(tmp_path):
    whole = (SCHEMA_1 / "recording.h5").read_bytes()
    random = np.random.default_rng(2)
    for place in random.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        (tmp_path / "old.h5").write_bytes(damaged)
        try:
            assert isinstance(runs.load_recording(tmp_path / "old.h5"), runs.Recorded)
        except RunFileError as error:
            assert "old.h5" in str(error)


def external_link(file, folder):
    file["meta/x"] = h5py.ExternalLink(os.fspath(folder / "other.h5"), "/secret")


def soft_link(file, folder):
    file["meta/x"] = h5py.SoftLink("/t_stop")


def soft_link_to_itself(file, folder):
    file["meta/x"] = h5py.SoftLink("/meta/x")


def hard_link_twice(file, folder):
    file["meta/x"] = file["t_stop"]


def loop(file, folder):
    file["meta/x"] = file["/"]


def loop_of_lists(file, folder):
    group = file.create_group("meta/x")
    group.attrs["type"] = np.bytes_(b"list")
    group["0"] = group


def external_storage(file, folder):
    file.create_dataset("meta/x", (4,), "u1", external=[(os.fspath(folder / "secret.txt"), 0, 4)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(os.fspath(folder / "other.h5"), "secret", (1,))
    file.create_virtual_dataset("meta/x", layout)


def compressed(file, folder):
    file.create_dataset("meta/x", data=np.zeros(10**6), compression="gzip")


def announced_only(file, folder):
    file.create_dataset("meta/x", (400_000_000,), "f8")


def reference(file, folder):
    file.create_dataset("meta/x", data=file["t_stop"].ref, dtype=h5py.ref_dtype)


def text_of_variable_length(file, folder):
    file.create_dataset("meta/x", data="text", dtype=h5py.string_dtype())


def compound(file, folder):
    file.create_dataset("meta/x", data=np.zeros(2, [("a", "f8"), ("b", "i4")]))


def empty_where_there_should_be_none(file, folder):
    file.create_dataset("meta/x", data=h5py.Empty("f8"))


def truth_of_two(file, folder):
    kind = h5py.h5t.py_create(np.dtype("?"), logical=True)
    space = h5py.h5s.create_simple((1,))
    data = h5py.h5d.create(file["meta"].id, b"x", kind, space)
    data.write(space, space, np.array([2], np.uint8), kind)


def too_deep(file, folder):
    group = file["meta"]
    for _ in range(100):
        group = group.create_group("x")
        group.attrs["type"] = np.bytes_(b"dict")


def strange_name(file, folder):
    file["meta/%73eed"] = 1


TRICKS = [
    external_link, soft_link, soft_link_to_itself, hard_link_twice, loop, loop_of_lists, external_storage, virtual,
    compressed, announced_only, reference, text_of_variable_length, compound, empty_where_there_should_be_none,
    truth_of_two, too_deep, strange_name,
]  # fmt: skip


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("trick", TRICKS)
def test_what_evsim_never_writes_is_refused_in_no_time_and_memory(tmp_path, recording, trick, sealed):
    (tmp_path / "secret.txt").write_text("key!")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = [1.0]
        other["secret"].attrs["type"] = np.bytes_(b"array")
    if not sealed:
        shutil.copy(SCHEMA_1 / "recording.h5", recording)
    with edited(recording) as file:
        trick(file, tmp_path)
        link = file["meta"].get("x", getlink=True)
        if isinstance(link, h5py.HardLink) and "type" not in file["meta/x"].attrs:
            file["meta/x"].attrs["type"] = np.bytes_(b"array")
    with pytest.raises(RunFileError, match=r"run\.h5"):
        runs.load_recording(recording)


@pytest.mark.parametrize(
    ("mark", "value"),
    [("bool", 1.5), ("float", [1.0, 2.0]), ("int", 0.5), ("int", b"1_0x"), ("str", 3), ("list", [[1, 2]]),
     ("escaped str", b"[1]"), ("escaped str", b"[" * 100_000), ("scalar", [1]), ("array", b"x"), ("None", 1)],
)  # fmt: skip
def test_data_that_is_not_what_its_type_says_is_refused(recording, mark, value):
    with edited(recording) as file:
        file.create_dataset("meta/x", data=np.bytes_(value) if isinstance(value, bytes) else value)
        file["meta/x"].attrs["type"] = np.bytes_(mark.encode())
    with pytest.raises(RunFileError, match=r"run\.h5"):
        runs.load_recording(recording)


def test_a_tree_that_is_too_deep_or_holds_itself_is_not_written(tmp_path):
    deep = {}
    for _ in range(70):
        deep = {"x": deep}
    endless = []
    endless.append(endless)
    for tree in (deep, {"x": endless}):
        with pytest.raises(TypeError, match="64 levels"):
            hdf5.write_tree(tmp_path / "x.h5", tree, "run")


def test_a_run_without_a_checksum_of_an_earlier_version_loads():
    state = runs.load_run(SCHEMA_1 / "run.h5")
    assert state["epoch"] == 1 and state["weights"][0].shape == (64, 4) and state["parameters"]["hidden"] == (4,)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_to_keeps_the_earlier_file(recording, monkeypatch, code):
    before = recording.read_bytes()

    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError, match=r"cannot write .*run\.h5.*can be written to.*untouched") as caught:
        runs.save_recording(recording, {}, 1.0, {})
    monkeypatch.undo()
    assert caught.value.errno == code
    assert recording.read_bytes() == before and os.listdir(recording.parent) == ["run.h5"]
