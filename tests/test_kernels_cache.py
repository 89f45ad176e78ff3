"""The folder of compiled kernels: one for each thing that changes their code."""

import os
import subprocess
import sys

import pytest

_ASK = "from evsim._kernels.jit import cache_folder; print(cache_folder())"
_OUT_OF_BOUNDS = """
import numpy as np
from evsim._kernels.window_block import choose
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
