"""Damaged and forged files of every kind that evsim reads, in child processes: what ends otherwise than by a sentence?

python benchmarks/accuracy/fuzz_files.py --mutants 10000 --out docs/results/fuzz_files.csv
python benchmarks/accuracy/fuzz_files.py --mutants 200 --only state-queue,idx.gz

Files of evsim are tried as they are (bytes changed, cut out, doubled, moved, appended), edited through h5py and sealed
again (``forged``: values, types, shapes, attributes, entries), and in the layout of schema 1, which has no checksum
(``old``). A state is continued for 3 ms, a run trains one step, so that kernels see what was loaded. Columns:

refused, loaded : a documented error; a result
signals, hangs : the process died, or a mutant took more than 30 s
tracebacks : any other exception
silent : a file that carries a checksum gave other contents than it was written with

Exit code 0 if the last four are 0. What was wrong is printed with its number; ``--show KIND N`` runs one alone.
"""

from __future__ import annotations

import faulthandler
import gzip
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import ROOT, arguments, write_csv

OLD = ROOT / "tests" / "helpers" / "schema_1"
LIMIT = 30.0
NUMBERS = ("refused", "loaded", "signals", "hangs", "tracebacks", "silent")

TOML = """t_stop = 5.0
[inputs.in]
size = 3
file = "s.txt"
[populations.a]
size = 4
tau_m = [10.0, 20.0, 20.0, 10.0]
tau_syn = [5.0, 8.0]
t_ref = 1.0
v_init = {dist = "norm", loc = 0.1, scale = 0.1, max = 0.9}
[[connect]]
source = "in"
target = "a"
rule = "FixedIndegree"
indegree = 2
weight = {dist = "uniform", scale = 0.5}
delay = 1.5
[[connect]]
source = "a"
target = "a"
pre = [0, 1, 2]
post = [1, 2, 3]
weight = 0.1
delay = 2.0
[[poisson]]
target = "a"
rate = 300.0
weight = 0.2
"""
CONFIG = 'dataset = "digits"\nhidden = [8, 4]\nepochs = 2\nrate = 5e-3\nrule = "hm2bp"\n[loss_options]\ndesired = 5\n'
TEXT = "# time source\n0.5 0\n1.25, 2\n\n7e0 1  # last\n" * 5


# --- what is loaded -----------------------------------------------------------------------------------------


def digest(value: Any) -> str:
    """Of a tree of plain values, types included."""
    h = hashlib.sha256()

    def add(v: Any) -> None:
        h.update(type(v).__name__.encode())
        if isinstance(v, dict):
            for key, child in v.items():
                h.update(key.encode("utf-8", "surrogatepass"))
                add(child)
        elif isinstance(v, (list, tuple)):
            for child in v:
                add(child)
        elif isinstance(v, (np.ndarray, np.generic)):
            h.update(f"{v.dtype.str}{v.shape}".encode() + v.tobytes())
        else:
            h.update(repr(v).encode("utf-8", "surrogatepass"))

    add(value)
    return h.hexdigest()


def network(bias: float) -> Any:
    """Of the states; that of the older ones has no bias."""
    import evsim

    net = evsim.Network()
    net.add_input("in", 3)
    net.add_population("a", 8, evsim.LIF(tau_m=10.0, tau_syn=(2.0, 4.0), t_ref=1.0, bias=bias))
    net.connect("in", "a", weight=0.5, delay=20.0)
    net.connect("a", "a", weight=-0.1, delay=lambda rng, n: rng.uniform(2.0, 4.0, n), rule=evsim.FixedIndegree(3))
    net.add_poisson("a", rate=800.0, weight=0.5)
    return net


def load_state(path: Path, driver: str, bias: float) -> str:
    """Load a state and continue it."""
    import evsim
    from evsim.io import runs

    tree = runs.load_state(path)
    evsim.Simulation(network(bias), seed=3, driver=driver, state=tree[0]).advance(3.0)
    return digest(tree)


_digits: list[Any] = []


def load_run(path: Path) -> str:
    """Load a training run and train one step."""
    from evsim.experiment.config import build, config_of
    from evsim.io import runs
    from evsim.io.datasets import load_dataset

    if not _digits:
        _digits.append(load_dataset("digits", None, 40, 10))
    state = runs.load_run(path)
    config = config_of(state, threads=1)
    _, trainer = build(config, _digits[0])
    trainer.load(state)
    inputs = trainer.inputs(_digits[0].x_train, np.arange(2), 1)
    gradients, _, _ = trainer.gradients(inputs, _digits[0].y_train[:2])
    trainer.optimiser.step([a for _, a in trainer.model.parameters()], gradients, 1e-3)
    return digest(state)


def load_recording(path: Path) -> str:
    """Load a recording."""
    from evsim.io import runs

    r = runs.load_recording(path)
    return digest([{k: [s.times, s.neurons, s.size] for k, s in r.spikes.items()}, r.t_stop, r.meta])


def load_idx(path: Path) -> str:
    """Read an idx file."""
    from evsim.io.idx import read_idx

    return digest(read_idx(path))


def load_toml(path: Path) -> str:
    """Declare a network."""
    from evsim.networks.toml_file import load_network

    return digest(repr(load_network(path).tree))


def load_config(path: Path) -> str:
    """Options of ``evsim train`` from a file."""
    from evsim.cli.main import train

    return repr(train.make_context("train", ["--config", str(path), "--out", str(path.parent / "out")]).params)


def load_text(path: Path) -> str:
    """Spikes of an input from text."""
    from evsim.experiment.network_run import load_spikes

    return digest(load_spikes(path, "in", 3).times)


def load_events(path: Path) -> str:
    """A recording of an event camera, as its folder holds it."""
    from evsim.io.events import EVENT_SETS, Recordings

    name = "nmnist" if path.suffix == ".bin" else "dvs-gesture"
    home = path.parent / ("Train/0/00001.bin" if name == "nmnist" else "ibmGestureTrain/user01_fluorescent/1.npy")
    place = path.parent / EVENT_SETS[name].tonic / home.relative_to(path.parent)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    batch, labels = Recordings(EVENT_SETS[name], path.parent, "train").read([0])
    return digest([batch.times, batch.neurons, labels])


# --- the files ----------------------------------------------------------------------------------------------


def make(kind: str, path: Path) -> None:
    """Write the file that mutants of a kind are made from."""
    import evsim
    from evsim.io import runs

    base = kind.removeprefix("forged-")
    if kind.startswith("old-"):
        path.write_bytes((OLD / f"{kind.removeprefix('old-').replace('-', '_')}.h5").read_bytes())
    elif base.startswith("state"):
        sim = evsim.Simulation(network(2.0), seed=3, driver=base.removeprefix("state-"))
        sim.advance_to(15.3, {"in": evsim.SpikeTrains([1.0, 12.0, 31.0], [0, 1, 2], 3)})
        runs.save_state(path, sim.state(), {"who": ["me", 1]})
    elif base == "run":
        runs.save_run(path, runs.load_run(OLD / "run.h5"))
    elif base == "recording":
        chance = np.random.default_rng(0)
        train = evsim.SpikeTrains(np.sort(chance.random(50)), chance.integers(0, 5, 50), 5)
        runs.save_recording(path, {"a": train, "b": train}, 1.0, {"seed": 2**90, "name": "x", "list": [1, None]})
    elif base.startswith("idx"):
        data = bytes([0, 0, 8, 3]) + np.array([20, 6, 6], ">u4").tobytes() + np.arange(720, dtype="u1").tobytes()
        path.write_bytes(gzip.compress(data, mtime=0) if base == "idx.gz" else data)
    elif base in ("toml", "config", "text"):
        path.write_text({"toml": TOML, "config": CONFIG, "text": TEXT}[base])
    elif base == "nmnist":
        chance = np.random.default_rng(0)
        x, y, p = (chance.integers(0, n, 60) for n in (34, 34, 2))
        t = np.sort(chance.integers(0, 300_000, 60))
        path.write_bytes(np.stack([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255], 1).astype(np.uint8).tobytes())
    else:
        chance = np.random.default_rng(0)
        columns = [*(chance.integers(0, n, 60) for n in (128, 128, 2)), np.sort(chance.integers(0, 10**6, 60))]
        np.save(path, np.stack(columns, 1).astype(np.int64))


def _bytes(raw: bytes, chance: random.Random) -> bytes:
    """Bytes changed, overwritten, cut, doubled, moved or added."""
    n = len(raw)
    a, b = sorted(chance.sample(range(n), 2))
    if chance.random() < 0.3:
        b = min(n, a + chance.randrange(1, 64))
    pieces: list[Callable[[], bytes]] = [
        lambda: raw[:a] + bytes([raw[a] ^ (1 << chance.randrange(8))]) + raw[a + 1 :],
        lambda: raw[:a] + bytes([chance.choice((0, 255, 127, 128, chance.randrange(256)))]) + raw[a + 1 :],
        lambda: raw[:a] + chance.randbytes(min(8, n - a)) + raw[a + 8 :],
        lambda: raw[:a],
        lambda: raw[:a] + raw[b:],
        lambda: raw[:b] + raw[a:],
        lambda: raw[:a] + raw[b:] + raw[a:b],
        lambda: raw + chance.randbytes(chance.randrange(1, 40)),
    ]
    new = raw
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        new = chance.choice(pieces)()
    return new


def _words(raw: bytes, chance: random.Random) -> bytes:
    """A value, name or line of a text file replaced."""
    words = [b"-1", b"0", b"1e400", b"nan", b"inf", b"[]", b"{}", b'""', b"true", b"9" * 400, b"[[1]]", b"1979-05-27",
             b"1e-320", b"-0.0", b"'a'", b"10000000000", b"[1, 'x']", b"\xc3", b"[" * 3000]  # fmt: skip
    one = chance.choice(list(re.finditer(rb"(?<== )[^\n]+|(?<=\n)\S+|[0-9.]+|(?<=\n)[^\n]*\n", raw)))
    return raw[: one.start()] + chance.choice(words) + raw[one.end() :]


def _forge(path: Path, chance: random.Random) -> None:
    """Edit an HDF5 file: a value, a type, a shape, an attribute, an entry or a link."""
    import h5py

    with h5py.File(path, "a") as file:
        everything: list[Any] = []
        file.visititems(lambda _, node: everything.append(node))
        sets = [node for node in everything if isinstance(node, h5py.Dataset) and node.shape is not None]
        for _ in range(chance.choice((1, 1, 2))):
            node, what = chance.choice(sets), chance.randrange(6)
            if not node:
                continue
            value, name, mark = node[...], node.name, node.attrs["type"]
            if what == 0 and value.dtype.kind in "iufb" and value.size:
                limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else None
                new = [0, 1, 2, -1, 10**6, *((limits.min, limits.max) if limits else (np.nan, np.inf, 1e300, -1.0))]
                with np.errstate(all="ignore"):
                    value.reshape(-1)[chance.randrange(value.size)] = np.array(chance.choice(new)).astype(value.dtype)
            elif what == 1:
                kinds = ["i1", "u1", "<i2", ">i4", "<i8", "<u8", "<f4", ">f8", "<f8", "?", "S3", "<c16"]
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = value.astype(chance.choice(kinds)) if value.dtype.kind != "S" else np.zeros(3)
            elif what == 2:
                value = chance.choice([value[None], value.ravel()[:1], value.ravel()[:0], np.append(value, value)])
            elif what == 3:
                marks = "dict,list,tuple,str,int,float,bool,None,array,scalar,escaped str".split(",")
                mark = np.bytes_(chance.choice(marks).encode())
            elif what == 4:
                del file[name]
                continue
            else:
                target = chance.choice(everything)
                if target:
                    del file[name]
                    file[name] = chance.choice([target, h5py.SoftLink(target.name), h5py.ExternalLink("x.h5", "/")])
                continue
            del file[name]
            file.create_dataset(name, data=value)
            file[name].attrs["type"] = mark


def mutate(kind: str, source: Path, target: Path, chance: random.Random) -> None:
    """Write one mutant."""
    raw = source.read_bytes()
    h5 = kind.startswith(("old-", "forged-"))
    if h5 and (kind.startswith("forged-") or chance.random() < 0.5):
        target.write_bytes(raw)
        try:
            _forge(target, chance)
        except (KeyError, ValueError, OSError, TypeError, RuntimeError):
            pass
        if kind.startswith("forged-"):
            from evsim.io.seal import seal

            image = bytearray(target.read_bytes())
            seal(memoryview(image))
            target.write_bytes(image)
    elif kind in ("toml", "config", "text") and chance.random() < 0.5:
        target.write_bytes(_words(raw, chance))
    else:
        target.write_bytes(_bytes(raw, chance))


KINDS: dict[str, tuple[str, Callable[[Path], str], bool]] = {
    **{
        f"{how}state-{driver}": (
            ".h5", lambda p, d=driver, b=0.0 if how == "old-" else 2.0: load_state(p, d, b), how == ""
        )
        for how in ("", "forged-", "old-") for driver in ("queue", "window")
    },
    **{f"{how}run": (".h5", load_run, how == "") for how in ("", "forged-", "old-")},
    **{f"{how}recording": (".h5", load_recording, how == "") for how in ("", "forged-", "old-")},
    "idx": ("", load_idx, False),
    "idx.gz": (".gz", load_idx, True),
    "toml": (".toml", load_toml, False),
    "config": (".toml", load_config, False),
    "text": (".txt", load_text, False),
    "nmnist": (".bin", load_events, False),
    "npy": (".npy", load_events, False),
}  # fmt: skip
"""By name: ending of the file, how it is loaded, and whether it carries a checksum of its contents."""


def attempt(kind: str, path: Path, right: str | None) -> tuple[str, str]:
    """Column of the result and what was said."""
    import click

    from evsim.errors import InputError, SilentLayerError

    documented = (InputError, SilentLayerError, OSError, click.UsageError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = KINDS[kind][1](path)
    except documented as error:
        return "refused", str(error)
    except Exception as error:
        import traceback

        return "tracebacks", "".join(traceback.format_exception(error)[-3:])
    return ("silent" if right is not None and got != right else "loaded"), ""


def child(kind: str, folder: Path, start: int, stop: int, seed: int) -> None:
    """Try the mutants start ... stop - 1, one line of JSON before and after each."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    ending, load, sealed = KINDS[kind]
    source, target = folder / f"source{ending}", folder / f"mutant{ending}"
    make(kind, source)
    whole = load(source)  # kernels are compiled here, before the time of a mutant is measured
    right = whole if sealed else None
    for k in range(start, stop):
        mutate(kind, source, target, random.Random(f"{seed} {kind} {k}"))
        print(json.dumps([k]), flush=True)
        print(json.dumps([k, *attempt(kind, target, right)]), flush=True)


def run(kind: str, n: int, seed: int) -> dict[str, Any]:
    """Counts of n mutants of a kind."""
    counts = dict.fromkeys(NUMBERS, 0)
    began, k = time.perf_counter(), 0
    with TemporaryDirectory() as folder:
        while k < n:
            command = [sys.executable, __file__, "--child", kind, folder, str(k), str(n), str(seed)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            hung = False

            def expired(*_: Any, process: subprocess.Popen[str] = process) -> None:
                nonlocal hung
                hung = True
                process.kill()

            signal.signal(signal.SIGALRM, expired)
            reached = None
            signal.setitimer(signal.ITIMER_REAL, 20 * LIMIT)  # compilation
            for line in process.stdout:
                signal.setitimer(signal.ITIMER_REAL, LIMIT)
                entry = json.loads(line)
                reached = entry[0]
                if len(entry) > 1:
                    k = reached + 1
                    counts[entry[1]] += 1
                    if entry[1] in NUMBERS[2:]:
                        print(f"{kind} {reached}: {entry[1]}: {entry[2]}", flush=True)
            signal.setitimer(signal.ITIMER_REAL, 0)
            code = process.wait()
            if k >= n:
                break
            if reached is None:
                raise RuntimeError(f"{kind}: the child does not start")
            counts["hangs" if hung else "signals"] += 1
            print(f"{kind} {reached}: {'hangs' if hung else f'died, code {code}'}", flush=True)
            k = reached + 1
    return {"kind": kind, "mutants": n, **counts, "seconds": round(time.perf_counter() - began, 1)}


def main() -> int:
    """Run the kinds asked for; see the module."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), *(int(a) for a in sys.argv[4:7]))
        return 0
    parser = arguments(__doc__)
    parser.add_argument("--mutants", type=int, default=10_000, help="of each kind")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV file of the counts")
    parser.add_argument("--show", nargs=2, metavar=("KIND", "N"), help="run one mutant here")
    asked = parser.parse_args()
    if asked.show:
        with TemporaryDirectory() as folder:
            child(asked.show[0], Path(folder), int(asked.show[1]), int(asked.show[1]) + 1, asked.seed)
        return 0
    rows = []
    for kind in asked.only.split(","):
        rows.append(run(kind, asked.mutants, asked.seed))
        print(rows[-1], flush=True)
        if asked.out:
            write_csv(asked.out, list(rows[0]), rows)
    return int(any(row[name] for row in rows for name in NUMBERS[2:]))


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    raise SystemExit(main())
