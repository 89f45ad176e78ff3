"""The examples of docs/extending.md: they run as they stand."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from evsim.experiment.rules import RULES
from evsim.io.datasets import LOADERS
from helpers.paths import DOCS, ROOT

PAGE = (DOCS / "extending.md").read_text(encoding="utf-8")
BEFORE, MODEL = PAGE.split("## A neuron model")


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_a_rule_a_loss_a_layer_and_a_data_set_train_together(monkeypatch):
    monkeypatch.setattr("evsim.experiment.rules.RULES", dict(RULES))
    monkeypatch.setitem(LOADERS, "stripes", None)
    names: dict[str, object] = {}
    for block in blocks(BEFORE, "python"):
        exec(block, names)
    assert names["accuracy"] >= 0.9
    model = names["model"]
    assert not model.layers[0].weight[~model.layers[0].mask()].any() and model.layers[0].weight.any()


@pytest.mark.slow
def test_a_neuron_model_is_three_files(tmp_path):
    for name in ("evsim", "learning", "io"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    parts = re.split(r"^`(\S+\.py)`$", MODEL, flags=re.MULTILINE)
    changed = dict(zip(parts[1::2], parts[2::2]))
    assert len(changed) == 3
    for name, text in changed.items():
        source = (tmp_path / name).read_text(encoding="utf-8")
        for diff in blocks(text, "diff"):
            lines = diff.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            assert source.count(old) == 1, (name, old)
            source = source.replace(old, new)
        (tmp_path / name).write_text(source, encoding="utf-8")
    (check,) = blocks(MODEL, "python")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "EVSIM_CACHE_DIR": str(tmp_path / "cache")}
    env.pop("COVERAGE_PROCESS_START", None)
    code = f"import evsim\nassert evsim.__file__.startswith({str(tmp_path)!r})\n" + check
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
