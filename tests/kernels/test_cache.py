"""The folder of compiled kernels: one for each thing that changes their code."""

import errno
import hashlib
import importlib.util
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from evsim._kernels.jit import cache_folder
from evsim.testing import compiled

needs_jit = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")

_ASK = "from evsim._kernels.jit import cache_folder; print(cache_folder())"
_OUT_OF_BOUNDS = """
import numpy as np
from evsim._kernels.window.block import choose
print(choose(np.zeros(3), np.zeros(2), 3, np.zeros(3, np.int32)))
"""


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("setting", [{"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "1"}])
def test_a_setting_that_changes_the_code_has_a_folder_of_its_own(setting: dict[str, str]) -> None:
    plain = {"NUMBA_BOUNDSCHECK": "0", "NUMBA_OPT": "3"}
    assert _run(_ASK, **plain).stdout != _run(_ASK, **{**plain, **setting}).stdout


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python checks every index anyway")
def test_checked_kernels_report_an_index_out_of_bounds() -> None:
    """What `make bounds` rests on."""
    result = _run(_OUT_OF_BOUNDS, NUMBA_BOUNDSCHECK="1")
    assert result.returncode == 1
    assert "IndexError" in result.stderr


def test_the_instruments_have_a_folder_that_goes_with_their_sources_and_with_the_kernels(tmp_path, monkeypatch) -> None:
    """The judge holds the code of the functions that it calls, in other files too."""
    (tmp_path / "a.py").write_text("x = 1\n")
    first = compiled.instruments_folder(tmp_path)
    assert first == compiled.instruments_folder(tmp_path) and first.parent == Path(cache_folder()).parent
    (tmp_path / "a.py").write_text("x = 2\n")
    second = compiled.instruments_folder(tmp_path)
    monkeypatch.setattr(compiled, "cache_folder", lambda: cache_folder() + "0")
    assert len({first, second, compiled.instruments_folder(tmp_path), Path(cache_folder())}) == 4


# --- what lies in the folder ------------------------------------------------------------------------------

_MODULE = """
import numba
from evsim._kernels.cache import KernelCache, open_folder

def double(x):
    return x + x

def kernel(folder):
    compiled = numba.njit(double)
    opened = open_folder(folder)
    if opened is not None:
        compiled._cache = KernelCache(double, opened)
    return compiled
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A function that makes the same small kernel anew, in a folder, and warns anew."""
    from evsim._kernels import cache

    (tmp_path / "small_kernel.py").write_text(_MODULE)
    spec = importlib.util.spec_from_file_location("small_kernel", tmp_path / "small_kernel.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "small_kernel", module)
    spec.loader.exec_module(module)

    def make(folder):
        cache._told.clear()
        return module.kernel(folder)

    return make


def _loaded(kernel):
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())


@needs_jit
def test_a_compiled_kernel_is_used_again_for_its_signature_only(small, tmp_path):
    assert small(tmp_path / "k")(3) == 6
    again = small(tmp_path / "k")
    assert again(4) == 8 and _loaded(again) == (1, 0)
    assert again(0.5) == 1.0 and _loaded(again) == (1, 1)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o700
    assert len(os.listdir(tmp_path / "k")) == 2


@needs_jit
@pytest.mark.parametrize("damage", ["empty", "cut", "byte", "digest", "other key", "no pickle"])
def test_a_damaged_file_is_compiled_again_and_made_whole(small, tmp_path, damage):
    small(tmp_path / "k")(3)
    (file,) = (tmp_path / "k").iterdir()
    whole = bytearray(file.read_bytes())

    def signed(data):
        return hashlib.sha256(data).digest() + data

    new = {
        "empty": b"", "cut": whole[: len(whole) // 2], "byte": whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:],
        "digest": b"\0" * 32 + whole[32:], "other key": signed(pickle.dumps(("another", ()))),
        "no pickle": signed(b"?"),
    }  # fmt: skip
    file.write_bytes(new[damage])
    again = small(tmp_path / "k")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert again(3) == 6
    assert _loaded(again) == (0, 1)
    assert [str(file) in str(w.message) for w in caught] == ([] if damage == "other key" else [True])
    third = small(tmp_path / "k")
    assert third(3) == 6 and _loaded(third) == (1, 0)


class _Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@needs_jit
@pytest.mark.parametrize("open_to_others", ["folder", "file", "group"])
def test_what_others_may_have_written_is_not_run(small, tmp_path, open_to_others):
    small(tmp_path / "k")(3)
    (file,) = (tmp_path / "k").iterdir()
    data = pickle.dumps(_Planted(os.fspath(tmp_path / "was here")))
    file.write_bytes(hashlib.sha256(data).digest() + data)
    {"folder": tmp_path / "k", "file": file, "group": tmp_path / "k"}[open_to_others].chmod(
        0o770 if open_to_others == "group" else 0o707
    )
    with pytest.warns(RuntimeWarning, match="others than you"):
        assert small(tmp_path / "k")(3) == 6
    assert not (tmp_path / "was here").exists()


def test_a_link_to_a_folder_is_not_a_folder_of_ones_own(tmp_path):
    from evsim._kernels import cache

    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    cache._told.clear()
    with pytest.warns(RuntimeWarning, match="not used"):
        assert cache.open_folder(tmp_path / "link") is None


@needs_jit
def test_without_a_folder_that_can_be_made_kernels_are_compiled_each_time(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="EVSIM_CACHE_DIR"):
        kernel = small(tmp_path / "file" / "k")
    assert kernel(3) == 6


@needs_jit
def test_a_full_disk_costs_the_cache_only(small, tmp_path, monkeypatch):
    kernel = small(tmp_path / "k")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        assert kernel(3) == 6
    assert os.listdir(tmp_path / "k") == []


@needs_jit
def test_processes_that_compile_at_once_leave_a_cache_that_is_right(small, tmp_path):
    code = "import sys, pathlib, small_kernel as s; print(s.kernel(pathlib.Path(sys.argv[1]))({}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(tmp_path), *filter(None, sys.path)])}
    values = ["3", "0.25", "True", "1j"]

    def start(value):
        command = [sys.executable, "-c", code.format(value), os.fspath(tmp_path / "k")]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    found = [child.communicate(timeout=120)[0].strip() for child in [start(v) for v in values]]
    assert found == ["6", "0.5", "2", "2j"]
    again = small(tmp_path / "k")
    assert [again(x) for x in (3, 0.25, True, 1j)] == [6, 0.5, 2, 2j] and _loaded(again) == (4, 0)


def test_a_kernel_source_in_a_folder_below_counts(tmp_path):
    from evsim._kernels.jit import hash_of_sources

    (tmp_path / "below").mkdir()
    (tmp_path / "a.py").write_text("1")
    seen = {hash_of_sources((tmp_path,))}
    for name, text in (("below/b.py", "1"), ("below/b.py", "2"), ("below/c.py", ""), ("below/__init__.py", "")):
        (tmp_path / name).write_text(text)
        seen.add(hash_of_sources((tmp_path,)))
    (tmp_path / "below" / "b.py").rename(tmp_path / "b.py")
    seen.add(hash_of_sources((tmp_path,)))
    assert len(seen) == 6


@needs_jit
def test_a_run_without_a_cache_folder_warns_and_runs(tmp_path):
    """The whole way, as in a container whose home cannot be written to."""
    (tmp_path / "file").write_text("")
    code = "from evsim._kernels.neurons.lif import decay; print(decay(0.0, 1.0))"
    result = _run(code, EVSIM_CACHE_DIR=os.fspath(tmp_path / "file"))
    assert result.stdout.strip() == "1.0" and "EVSIM_CACHE_DIR" in result.stderr
