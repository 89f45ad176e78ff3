"""Errors: what a user can mend is an `InputError` and one sentence; a fault of evsim keeps its traceback."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

import evsim
from evsim import errors
from evsim.cli.main import FAULT, main
from evsim.errors import InputError
from helpers.paths import ROOT

PLAIN = {
    "evsim/experiment/named.py": 3,  # caught in the file: a text that is no value of this kind
    "evsim/text_files.py": 3,  # caught by the readers of lines
    "evsim/spikes.py": 4,  # a SpikeBatch made of arrays that do not belong together
    "evsim/streams.py": 1,  # a stream named by too many or too few numbers
    "evsim/testing/derivatives.py": 5,
    "evsim/testing/oracle.py": 1,
    "io/events.py": 8,  # caught in the file: parts of a sentence
    "io/hdf5.py": 1,
    "io/hdf5_nodes.py": 1,  # caught by the reader
    "io/runs.py": 4,  # a program saves something that cannot be read back
    "learning/checks/mean_gradient.py": 1,
    "learning/rules/eventprop.py": 1,  # spikes without the currents that model.forward gives
    "learning/rules/tssl/events.py": 1,
    "learning/spsp.py": 1,
    "learning/training/optimisers.py": 6,  # arrays that do not belong together
}
"""Plain ValueErrors: only a program can cause them, or they never leave their room."""


def test_what_a_user_can_mend_is_an_input_error():
    found: Counter[str] = Counter()
    for folder in ("evsim", "learning", "io"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("evsim/learning/", "evsim/io/")):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                    found[name] += isinstance(raised, ast.Name) and raised.id == "ValueError"
    new = {name: n for name, n in found.items() if n > PLAIN.get(name, 0)}
    assert not new, f"raise InputError for what a user can mend; a plain ValueError is a fault of evsim: {new}"


@pytest.mark.parametrize("name", ["NetworkError", "DataError", "RunFileError", "GradientError", "RunawayError"])
def test_each_error_of_a_user_is_an_input_error_and_so_a_value_error(name):
    assert issubclass(getattr(errors, name), InputError) and issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: evsim.LIF(tau_m=-1.0),
        lambda: evsim.SpikeTrains([1.0], [3], size=2),
        lambda: evsim.encode.poisson(np.array([-1.0]), 10.0),
        lambda: evsim.Network().simulate(0.0),
        lambda: evsim.analysis.cv_isi(evsim.SpikeTrains([1.0], [0], 1), 10.0, min_spikes=1),
        lambda: evsim.learning.Dense(0, 3, evsim.LIF()),
        lambda: evsim.learning.TrainingOptions(rate=-1.0),
        lambda: evsim.learning.rules.HM2BP(micro="other"),
    ],
)
def test_a_program_that_catches_value_errors_goes_on_doing_so(wrong):
    with pytest.raises(ValueError) as caught:
        wrong()
    assert isinstance(caught.value, InputError)


def test_the_command_line_says_an_input_error_in_one_sentence(tmp_path):
    result = CliRunner().invoke(main, ["simulate", "brunel", "--scale", "0.01", "--t-stop", "5", "--warmup", "3",
                                       "--chunk", "0.001", "--out", str(tmp_path / "a" / "b"), "--resume"])  # fmt: skip
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ") and FAULT not in result.output


PROGRAM = """
import sys
import evsim.experiment.presets as presets
def broken(*a, **b):
    raise {error}("operands could not be broadcast together")
presets.settings = broken
from evsim.cli.main import main
main(["train", "--dataset", "digits", "--out", sys.argv[1]])
"""


@pytest.mark.parametrize("error", ["ValueError", "TypeError", "KeyError", "ZeroDivisionError"])
def test_a_fault_of_evsim_shows_its_traceback_and_asks_to_report_it(error, tmp_path):
    child = subprocess.run([sys.executable, "-c", PROGRAM.format(error=error), str(tmp_path / "run")],
                           capture_output=True, text=True)  # fmt: skip
    assert child.returncode == 1
    assert "Traceback" in child.stderr and "in broken" in child.stderr and error in child.stderr
    assert FAULT in child.stderr


def test_usage_errors_and_help_are_no_faults():
    for arguments in (["--help"], ["train", "--no-such-option"], ["train"], ["no-such-command"]):
        result = CliRunner().invoke(main, arguments)
        assert isinstance(result.exception, SystemExit | None) and "fault of evsim" not in result.output
