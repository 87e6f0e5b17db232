"""Processes that are killed at random moments end, in the end, where the straight run ends: equal bytes on a CPU."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

SCRIPT = """if True:
    import json, sys
    from anatcl.spec.training import Options
    from anatcl.pretrain import train as module
    from anatcl.pretrain.train import Inputs, train
    module.SAVE_EVERY = 0
    given = json.loads(sys.argv[1])
    sys.exit(train(Inputs(**given["inputs"]), Options.parse(given["options"]), "cpu", threads=1))"""
EVERYTHING = {"joint": {"both": {"anatcl-z": 1.0, "regress": 0.5}}, "ema": 0.9, "chunk": 3, "batch_size": 8}
EVERYTHING |= {"optimiser": "adamw", "schedule": "cosine", "warmup_steps": 4, "clip_norm": 1.0, "pooling": "grid"}
EVERYTHING |= {"augment": {"flip": {}, "noise": {}}, "permuted": True, "epochs": 8}
CASES = [
    ("y-aware", {"epochs": 40}, signal.SIGTERM, 1),
    ("y-aware", {"epochs": 40}, signal.SIGUSR1, 1),
    ("y-aware", {"epochs": 40}, signal.SIGKILL, 1),
    ("both", EVERYTHING, signal.SIGKILL, 2),
    ("both", EVERYTHING, signal.SIGUSR1, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options", "number", "times"), CASES)
def test_killed_process_goes_on(cohort_files, pretrain, tmp_path, method, options, number, times):
    straight = pretrain(method, "straight", **options)
    told = {"encoder": "resnet-tiny", "batch_size": 4, "learning_rate": 1e-3} | options
    inputs = {"arrays": str(cohort_files["arrays"]), "folds": str(cohort_files["folds.tsv"]), "fold": 0}
    inputs |= {"method": method, "out_dir": str(tmp_path / "k"), "measures": str(cohort_files["measures.tsv"])}
    command = [sys.executable, "-c", SCRIPT, json.dumps({"inputs": inputs, "options": told})]
    random, saved = np.random.default_rng(number), tmp_path / "k/last.ckpt"
    for _ in range(times):
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        process = subprocess.Popen(command)
        while process.poll() is None and not (saved.exists() and saved.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(float(random.uniform(0, 0.3)))
        process.send_signal(number)
        assert process.wait() in (0, 128 + number, -number)
    assert subprocess.run(command, check=False).returncode == 0
    for name in ("encoder.safetensors", "history.tsv", "model.json"):
        assert (tmp_path / "k" / name).read_bytes() == (straight / name).read_bytes(), name
