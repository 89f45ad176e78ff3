"""The peak of memory, also where neither resource nor /proc is (Windows)."""

import builtins
import sys
from types import SimpleNamespace

import psutil
import pytest

from evsim.memory import peak_memory_mb


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine without fcntl, resource and /proc; psutil still knows of memory."""
    real = builtins.open
    usage = psutil.Process().memory_info()

    def without_proc(path, *args, **options):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real(path, *args, **options)

    for module in ("fcntl", "resource"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(builtins, "open", without_proc)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: usage))


def test_the_peak_of_memory_is_known_or_0(elsewhere, monkeypatch):
    assert peak_memory_mb() > 10.0

    def unknown():
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", unknown)
    assert peak_memory_mb() == 0.0
