"""Claims: who works in a folder, without locks of the system."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from evsim.experiment import claims
from evsim.experiment.claims import Held, claimed, holder, one_at_a_time


def test_one_holds_and_others_are_told_who(tmp_path):
    with claimed(tmp_path, "a"):
        assert holder(tmp_path, "a") == f"process {os.getpid()}" and holder(tmp_path, "b") is None
        with pytest.raises(Held, match=rf"another evsim \(process {os.getpid()}\) is writing into"):
            claimed(tmp_path, "a").__enter__()
        with claimed(tmp_path, "b"):
            pass
    assert holder(tmp_path, "a") is None and not list(tmp_path.iterdir())


def test_threads_that_wait_come_in_one_after_the_other(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(3):
            with claimed(tmp_path, "a", patience=60.0):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60.0)
    assert len(most) == 12 and max(most) == 1 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_processes_that_ask_at_once_get_one_claim_between_them(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from evsim.experiment.claims import Held, claimed
while not Path({str(tmp_path / "go")!r}).exists():
    time.sleep(0.001)
try:
    with claimed(Path({str(tmp_path)!r}), "a"):
        time.sleep(3.0)
        print("held")
except Held:
    print("told")
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    time.sleep(1.0)
    (tmp_path / "go").touch()
    assert sorted(p.communicate(timeout=60)[0].strip() for p in started) == ["held", "told", "told"]


def gone_process():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def left_behind(folder, machine, pid, started="", number=1):
    path = folder / f".a.claim-{number}"
    path.write_text(f"{machine}\n{pid}\n{started}\n")
    return path


def test_a_process_that_is_gone_holds_nobody_up(tmp_path):
    left_behind(tmp_path, claims._machine(), gone_process())
    with claimed(tmp_path, "a"):
        assert holder(tmp_path, "a") == f"process {os.getpid()}"
    assert not list(tmp_path.iterdir())


def test_a_process_id_that_was_given_out_again_is_another_process(tmp_path):
    left_behind(tmp_path, claims._machine(), os.getpid(), psutil.Process().create_time() - 100.0)
    assert holder(tmp_path, "a") is None
    left_behind(tmp_path, claims._machine(), os.getpid(), psutil.Process().create_time(), number=2)
    assert holder(tmp_path, "a") == f"process {os.getpid()}"


def test_a_holder_on_another_machine_counts_as_gone_when_it_is_silent_for_minutes(tmp_path):
    path = left_behind(tmp_path, "node7 boot", gone_process())
    assert holder(tmp_path, "a").endswith("on node7")
    with pytest.raises(Held):
        claimed(tmp_path, "a", 0.2).__enter__()
    quiet = time.time() - claims.GONE - 1.0
    os.utime(path, (quiet, quiet))
    with claimed(tmp_path, "a"):
        pass


def test_who_can_wait_waits_until_a_holder_elsewhere_counts_as_gone_or_shows_that_it_is_not(tmp_path, monkeypatch):
    """A job that is put on another machine at once finds what its first half left."""
    monkeypatch.setattr(claims, "GONE", 1.0)
    path = left_behind(tmp_path, "node7 boot", gone_process())
    began = time.monotonic()
    with claimed(tmp_path, "a", until_silent=True):
        assert 0.5 < time.monotonic() - began < 30.0
    monkeypatch.setattr(claims, "GONE", 1000.0)
    path = left_behind(tmp_path, "node7 boot", gone_process())
    threading.Timer(0.3, os.utime, (path, (1.0 + time.time(),) * 2)).start()
    with pytest.raises(Held):
        claimed(tmp_path, "a", until_silent=True).__enter__()


def test_a_holder_renews_its_claim_and_hears_of_who_took_it_over(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    lost = threading.Event()
    with claimed(tmp_path, "a", when_lost=lost.set):
        path = tmp_path / ".a.claim-1"
        os.utime(path, (1.0, 1.0))
        until = time.monotonic() + 60
        while path.stat().st_mtime < 2.0 and time.monotonic() < until:
            time.sleep(0.01)
        assert path.stat().st_mtime > 2.0 and not lost.is_set()
        other = left_behind(tmp_path, "node7 boot", 1, number=2)
        assert lost.wait(60.0)
    assert other.exists(), "what another one holds stays"


def test_processes_of_one_machine_pass_one_at_a_time_wherever_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_of_this_machine", lambda: tmp_path)
    with one_at_a_time("a", 0.0):
        assert holder(tmp_path, "a") is not None
        began = time.monotonic()
        with one_at_a_time("a", 0.1):
            assert 0.1 <= time.monotonic() - began < 30.0
    assert holder(tmp_path, "a") is None
    monkeypatch.setattr(claims, "_of_this_machine", lambda: None)
    with one_at_a_time("a", 0.0), one_at_a_time("a", 0.0):
        pass
