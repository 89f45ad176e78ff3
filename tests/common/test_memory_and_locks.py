"""The peak of memory, and a lock among processes, also where neither fcntl nor resource nor /proc is (Windows)."""

import builtins
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from evsim.experiment.processes import _alone
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


def test_one_at_a_time_holds_the_lock(elsewhere, tmp_path):
    inside, most = [], []

    def work():
        for _ in range(3):
            with _alone(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.01)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60.0)
    assert len(most) == 9 and max(most) == 1
    assert not list(tmp_path.iterdir())


def test_a_lock_of_a_process_that_is_gone_holds_nobody_up(elsewhere, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "lock.pid").write_text(str(gone.pid))
    with _alone(tmp_path / "lock"):
        assert (tmp_path / "lock.pid").read_text() == str(os.getpid())
