"""Start-up times in fresh processes: ``import evsim``, and ``evsim demo`` until its first batch is done.

python benchmarks/speed/startup.py            (the kernels are compiled and cached first, and that time printed)
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine

_FIRST_BATCH = """
import sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
import evsim.learning.training as training
original = training.Trainer.gradients
def first(self, *args, **kwargs):
    original(self, *args, **kwargs)
    raise KeyboardInterrupt
training.Trainer.gradients = first
from evsim.experiment.presets import preset
from evsim.cli.train import train_run
from evsim.experiment.config import RunConfig
with TemporaryDirectory() as folder:
    try:
        train_run(RunConfig(**preset("digits")), Path(folder), False)
    except KeyboardInterrupt:
        pass
"""


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the fastest of five fresh processes each."""
    arguments(__doc__).parse_args()
    print(machine())
    empty = min(seconds("pass") for _ in range(5))
    imported = min(seconds("import evsim") for _ in range(5))
    print(f"import evsim: {imported - empty:.3f} s beside {empty:.3f} s of an empty interpreter")
    print(f"demo to the end of its first batch, whatever the kernel cache held: {seconds(_FIRST_BATCH):.2f} s")
    warm = min(seconds(_FIRST_BATCH) for _ in range(3))
    print(f"demo to the end of its first batch, kernels cached: {warm:.2f} s")


if __name__ == "__main__":
    main()
