"""Versions in run files, and the C library whose last bits a run depends on."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from evsim import versions


def test_versions_name_what_the_bits_depend_on(monkeypatch):
    found = versions.package_versions()
    assert list(found) == ["python", "evsim", "numpy", "numba", "scipy", "h5py", "c_library"]
    assert found["numpy"] == np.__version__
    assert found["h5py"] == h5py.__version__

    def absent(package):
        raise versions.PackageNotFoundError

    monkeypatch.setattr(versions, "_versions", versions._versions.__wrapped__)
    monkeypatch.setattr(versions, "version", absent)
    found = versions.package_versions()
    assert (found["evsim"], found["scipy"]) == ("unknown", "not installed")


def test_one_last_bit_of_the_c_library_tells(monkeypatch):
    from evsim._kernels import libm

    before = versions.c_library.__wrapped__()
    assert versions.c_library.__wrapped__() == before
    exact = libm.library_values
    for function in range(libm.FUNCTIONS):

        def other(x, out, function=function):
            exact(x, out)
            out[function, 5] = np.nextafter(out[function, 5], np.inf)

        monkeypatch.setattr(libm, "library_values", other)
        assert versions.c_library.__wrapped__() != before


@pytest.mark.slow
def test_a_processor_without_fused_multiply_add_is_told_apart():
    code = "from evsim.versions import c_library; print(c_library())"
    tunables = "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2_Usable,-AVX2"
    here, older = (
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **more}, capture_output=True, text=True).stdout
        for more in ({}, {"GLIBC_TUNABLES": tunables})
    )
    assert here.strip() == versions.c_library()
    if here == older:
        pytest.skip("this C library has no such variants")


def test_a_run_from_a_machine_with_other_last_bits_is_told():
    here = versions.package_versions()
    assert versions.library_note(here) == ""
    assert versions.library_note({"numpy": "1.0"}) == ""  # of a version that did not write it
    assert "other last bits" in versions.library_note({**here, "c_library": "0" * 12})
