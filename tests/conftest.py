"""What every test shares: hypothesis profiles and the folder of real data.

Under `CI` the generated cases are the same in every run; elsewhere they vary, so that new ones are found.
`pytest --hypothesis-profile=thorough` tries many more.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder named by EVSIM_DATA; the test is skipped where there is none."""
    name = os.environ.get("EVSIM_DATA")
    if not name:
        pytest.skip("EVSIM_DATA is not set: it names the folder of real data files")
    folder = Path(name)
    if not folder.is_dir():
        pytest.skip(f"EVSIM_DATA names {name!r}, which is not a folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """A job in the background, or one under nohup, ignores these signals; tests of them must not depend on that."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL, "SIGTERM": signal.SIG_DFL}
    before = {}
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
