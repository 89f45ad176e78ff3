"""What every test shares: hypothesis profiles and the folder of real data.

Under `CI` the generated cases are the same in every run; elsewhere they vary, so that new ones are found.
`make test-all` tries more of them (the profile "all"), `pytest --hypothesis-profile=thorough` many more.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from helpers.examples import ALL

for profile, number in (("quick", 20), ("all", ALL), ("thorough", 20 * ALL)):
    settings.register_profile(profile, deadline=None, max_examples=number, derandomize=bool(os.environ.get("CI")))
settings.load_profile("quick")


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


@pytest.fixture(autouse=True)
def pictures_where_they_are_the_point(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that ends well saves pictures; to draw them takes longer than the small runs of the tests."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: Path(path).write_bytes(b""))


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
