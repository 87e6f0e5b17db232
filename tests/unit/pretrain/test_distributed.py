"""Two gloo processes with half batches each do what one process does with whole batches."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.models.norm import CrossProcessBatchNorm3d, synchronise_batchnorm
from anatcl.pretrain.distributed import World, start

SCRIPT = """if True:
    import json, sys
    from anatcl.spec.training import Options
    from anatcl.pretrain.train import Inputs, train
    given = json.loads(sys.argv[1])
    sys.exit(train(Inputs(**given["inputs"]), Options.parse(given["options"]), "cpu", given["precision"], threads=1))"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def run_ranks(given: dict, size: int, script: str = SCRIPT) -> None:
    """Start `size` processes with the environment that torchrun sets."""
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(given)], env={**common, "RANK": str(r), "LOCAL_RANK": str(r)}
        )
        for r in range(size)
    ]
    assert [p.wait(timeout=1800) for p in ranks] == [0] * size


@pytest.mark.slow
@pytest.mark.parametrize("method", ["anatcl-local", "age-regression"])
def test_two_half_batches_equal_one_whole(cohort_files, pretrain, tmp_path, method):
    options = {"encoder": "resnet-tiny", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    inputs = {"arrays": str(cohort_files["arrays"]), "folds": str(cohort_files["folds.tsv"]), "fold": 0}
    inputs |= {"method": method, "out_dir": str(tmp_path / "two"), "measures": str(cohort_files["measures.tsv"])}
    run_ranks({"inputs": inputs, "options": options, "precision": "fp32"}, 2)
    one = pretrain(method, "one", **options)
    a, b = (load_file(folder / "encoder.safetensors") for folder in (one, tmp_path / "two"))
    assert a.keys() == b.keys()
    # In float32 Adam turns gradients of rounding size into whole steps, so that runs drift apart slowly; the exact
    # statement is the float64 test below.
    histories = [np.genfromtxt(f / "history.tsv", names=True)["loss"] for f in (one, tmp_path / "two")]
    np.testing.assert_allclose(*histories, rtol=5e-3)


STEPS = """if True:
    import json, sys, torch
    given = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    from anatcl.losses.anatcl_local import AnatCLLocal
    from anatcl.models import build_model
    from anatcl.pretrain import distributed
    world = distributed.start("cpu")
    torch.manual_seed(0)
    model = build_model("resnet-tiny").double()
    random = torch.Generator().manual_seed(1)
    x = torch.randn(8, 1, 14, 16, 12, generator=random, dtype=torch.float64)
    measures = torch.rand(8, 5, 3, generator=random, dtype=torch.float64)
    age = torch.rand(8, generator=random, dtype=torch.float64) * 60
    loss = AnatCLLocal()
    targets = loss.fit({"measures": measures, "age": age})
    network = world.wrap(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    share = 8 // world.size
    mine = x[world.rank * share : (world.rank + 1) * share]
    kept = {}
    for step in range(3):
        optimizer.zero_grad()
        z = network(torch.cat([mine, mine.flip(2)]))
        kept[f"loss {step}"] = value = loss(world.gather(z, 2), targets)["loss"]
        value.backward()
        kept |= {f"gradient {step} {n}": p.grad.clone() for n, p in model.named_parameters()}
        optimizer.step()
    if world.main:
        torch.save({k: v.detach() for k, v in (kept | model.state_dict()).items()}, given["out"])
    distributed.stop(world)"""


def test_three_steps_in_float64_are_those_of_one_process(tmp_path, monkeypatch):
    """Losses, every gradient, every weight and every BatchNorm statistic."""
    run_ranks({"out": str(tmp_path / "2.pt")}, 2, STEPS)
    monkeypatch.setattr("sys.argv", ["", json.dumps({"out": str(tmp_path / "1.pt")})])
    exec(compile(STEPS, "one process", "exec"), {})
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.slow
def test_the_step_starts_its_own_processes_and_they_go_on_after_a_signal(cohort_files, tmp_path):
    """``--processes 2`` under torchrun: a signal in the middle saves, the next start ends at the same bits."""
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}

    def start(name: str) -> subprocess.Popen:
        flags = {"arrays": cohort_files["arrays"], "folds": cohort_files["folds.tsv"], "fold": 0, "method": "y-aware"}
        flags |= {"encoder": "resnet-tiny", "epochs": 30, "batch-size": 8, "learning-rate": 1e-3, "device": "cpu"}
        flags |= {"threads": 1, "processes": 2, "out-dir": tmp_path / name}
        words = [str(w) for k, v in flags.items() for w in (f"--{k}", v)]
        return subprocess.Popen([sys.executable, "-m", "anatcl", "pretrain", "train", *words], env=environment)

    assert start("straight").wait(timeout=1800) == 0
    broken = start("broken")
    while not (tmp_path / "broken/history.tsv").exists():
        assert broken.poll() is None
        time.sleep(0.02)
    broken.send_signal(signal.SIGUSR1)
    assert broken.wait(timeout=1800) != 0 and not (tmp_path / "broken/encoder.safetensors").exists()
    assert start("broken").wait(timeout=1800) == 0
    assert read_json(tmp_path / "broken/run.json")["processes"] == 2
    one, two = (load_file(tmp_path / n / "encoder.safetensors") for n in ("straight", "broken"))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_batch_that_cannot_be_shared_is_refused():
    order = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(World(1, 3).share(order), [[2, 3], [8, 9]])
    with pytest.raises(InputError, match="multiple of the number of processes"):
        World(0, 4).share(order)


def test_our_batchnorm_is_torchs_in_evaluation_and_keeps_its_names():
    plain = torch.nn.BatchNorm3d(5)
    names = set(plain.state_dict())
    ours = synchronise_batchnorm(torch.nn.Sequential(plain))[0]
    assert type(ours) is CrossProcessBatchNorm3d and set(ours.state_dict()) == names
    x = torch.randn(2, 5, 3, 4, 6)
    torch.testing.assert_close(ours.eval()(x), torch.nn.BatchNorm3d(5).eval()(x))


@pytest.mark.parametrize("environment", [{"LOCAL_RANK": "1"}, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}])
def test_more_processes_than_gpus_are_refused(monkeypatch, environment):
    """Every rank says so, before any waits for the others."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="2 processes cannot share 1 GPU"):
        start("auto")
