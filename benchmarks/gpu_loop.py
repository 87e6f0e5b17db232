"""Parts of ``benchmarks/gpu.py`` on the product's own programs: training, embedding, resume, several processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from anatcl.base.files import read_json, write_tsv
from anatcl.pretrain import batches, checkpoint
from anatcl.pretrain.arrays import array_meta, open_arrays, write_arrays
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.device import applied, resolve
from anatcl.pretrain.session import Run
from anatcl.pretrain.train import Inputs, train
from anatcl.spec.training import Options
from benchmarks.gpu_common import Bench, guarded, with_warnings

ROOT = Path(__file__).resolve().parent.parent
METHOD, EPOCHS = "anatcl-local", 4


def cohort(bench: Bench) -> Path:
    """Folder with packed volumes, folds and measures of made-up people; written once."""
    folder = bench.room / "cohort"
    if (folder / "folds.tsv").is_file():
        return folder
    n, random = 12 if bench.tiny else 320, np.random.default_rng(0)
    base = random.random(bench.shape, dtype=np.float32)
    names = [f"sub-{i:04d}" for i in range(n)]
    rows = pd.DataFrame({"scan": names, "participant_id": names, "age": random.uniform(20, 80, n)})
    meta = array_meta(bench.shape, np.diag([1.5, 1.5, 1.5, 1]), "vbm", [[0, k] for k in bench.shape])
    write_arrays(folder / "arrays", (np.roll(base, 7 * i + 1) for i in range(n)), rows, meta)
    regions = [f"{side}_{k:02d}" for side in ("lh", "rh") for k in range(34)]
    columns = [f"{kind}_{r}" for r in regions for kind in ("thickness", "volume", "area")]
    measures = pd.DataFrame(random.uniform(1, 3, (n, len(columns))), columns=columns)
    write_tsv(folder / "measures.tsv", pd.concat([rows.drop(columns="age"), measures], axis=1))
    write_tsv(folder / "folds.tsv", pd.DataFrame({"participant_id": names, "fold": np.arange(n) % 5}))
    return folder


def pretrain(bench: Bench, name: str, deterministic: bool = True, **options: Any) -> int:
    """Train by the product's own function into folder `name`; return its exit status."""
    folder = cohort(bench)
    inputs = Inputs(
        folder / "arrays", folder / "folds.tsv", -1, METHOD, bench.room / name, folder / "measures.tsv"
    )  # fmt: skip
    values = {"encoder": bench.encoder, "batch_size": bench.batch, "epochs": EPOCHS, **options}
    return train(inputs, Options.parse(values), bench.device, deterministic=deterministic)


@dataclasses.dataclass
class Watch:
    """Times of a run: after each step and, once the device is done, each epoch; end and
    seconds of each checkpoint.
    """

    steps: list[float] = dataclasses.field(default_factory=list)
    epochs: list[float] = dataclasses.field(default_factory=list)
    saves: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def step_seconds(self, per_epoch: int) -> float:
        """Mean seconds of a step after the first epoch, without those of checkpoints."""
        within = [seconds for end, seconds in self.saves if self.epochs[0] < end <= self.epochs[-1]]
        spent = self.epochs[-1] - self.epochs[0] - sum(within)
        return spent / per_epoch / (len(self.epochs) - 1)


@contextlib.contextmanager
def watched(stop_after: int = 0) -> Iterator[Watch]:
    """Note when steps end and how long checkpoints take; send this process SIGTERM after so many steps."""
    watch, update, end_epoch, save = Watch(), Run.update, Run.end_epoch, checkpoint.save

    def timed_update(run: Run) -> None:
        update(run)
        watch.steps.append(time.perf_counter())
        if len(watch.steps) == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def timed_end(run: Run) -> None:
        end_epoch(run)
        watch.epochs.append(time.perf_counter())

    def timed_save(path: Path, state: dict[str, Any]) -> None:
        start = time.perf_counter()
        save(path, state)
        watch.saves.append((time.perf_counter(), round(time.perf_counter() - start, 3)))

    Run.update, Run.end_epoch, checkpoint.save = timed_update, timed_end, timed_save  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        Run.update, Run.end_epoch, checkpoint.save = update, end_epoch, save  # type: ignore[method-assign]


def one_loop(bench: Bench, name: str, deterministic: bool, **options: Any) -> dict[str, Any]:
    """Start-up, steps, checkpoints and waiting of one training run."""
    start = time.perf_counter()
    with watched() as watch:
        pretrain(bench, name, deterministic, **options)
    bench.sync()
    total = time.perf_counter() - start
    record = read_json(bench.room / name / "run.json")
    return {
        **bench.rates(watch.step_seconds(len(watch.steps) // len(watch.epochs))),
        "device": record["device"],
        "steps": len(watch.steps),
        "total_s": round(total, 2),
        "first_step_after_s": round(watch.steps[0] - start, 2),
        "checkpoints_s": [seconds for _, seconds in watch.saves],
        "data_wait_share": round(record["data_wait_seconds"] / (watch.steps[-1] - watch.steps[0]), 4),
    }


@contextlib.contextmanager
def nothing_resident() -> Iterator[None]:
    """Let no volume stay on the GPU, as with a cohort that does not fit."""
    before, batches.RESIDENT_SHARE = batches.RESIDENT_SHARE, 0.0
    try:
        yield
    finally:
        batches.RESIDENT_SHARE = before


def loop(bench: Bench) -> dict[str, Any]:
    """The product's training loop, from the call to the written encoder."""
    torch._dynamo.reset()  # no compiled network of an earlier part
    start = time.perf_counter()
    cohort(bench)
    found: dict[str, Any] = {"writing_the_cohort_s": round(time.perf_counter() - start, 1)}
    found["deterministic"] = guarded(lambda: with_warnings(lambda: one_loop(bench, "deterministic", True)))
    found["deterministic, not compiled"] = guarded(lambda: one_loop(bench, "plain", True, compile=False))
    found["fastest"] = guarded(lambda: with_warnings(lambda: one_loop(bench, "fastest", False)))
    with nothing_resident():
        found["fastest, volumes read from disk"] = guarded(lambda: one_loop(bench, "read", False))
    return found


def differences(one: Path, two: Path) -> dict[str, Any]:
    """Whether two trained encoders are equal, and the largest difference of a weight."""
    a, b = (load_file(folder / "encoder.safetensors") for folder in (one, two))
    return {
        "equal": all(torch.equal(a[k], b[k]) for k in a),
        "largest_difference": max(float((a[k].double() - b[k].double()).abs().max()) for k in a),
    }


def straight(bench: Bench) -> Path:
    """Folder of an undisturbed deterministic run."""
    folder = bench.room / "deterministic"
    if not (folder / "encoder.safetensors").is_file():
        pretrain(bench, folder.name)
    return folder


def resume(bench: Bench) -> dict[str, Any]:
    """Stop a run by a signal inside an epoch, go on, and compare with the undisturbed run; repeat that one as well."""
    torch._dynamo.reset()
    expected = straight(bench)
    per_epoch = len(open_arrays(cohort(bench) / "arrays").rows) // bench.batch
    with watched(stop_after=per_epoch + per_epoch // 2) as watch:
        status = pretrain(bench, "resumed")
    stopped = len(watch.steps)
    pretrain(bench, "resumed")
    pretrain(bench, "again")
    return {
        "exit_status_when_stopped": status,
        "stopped_after_step": stopped,
        "resumed": differences(expected, bench.room / "resumed"),
        "run_again": differences(expected, bench.room / "again"),
    }


def embedding(bench: Bench) -> dict[str, Any]:
    """Volumes embedded per second: the product's function, and by precision and batch."""
    from anatcl.evaluate.steps.embed import embed

    encoder, folder = straight(bench), cohort(bench) / "arrays"
    n = len(open_arrays(folder).rows)
    start = time.perf_counter()
    embed(folder, encoder, bench.room / "embedded" / "embeddings.npz", device=bench.device)
    found: dict[str, Any] = {"product_volumes_per_s": round(n / (time.perf_counter() - start), 1)}
    for turn in ("again", "a third time"):
        start = time.perf_counter()
        embed(folder, encoder, bench.room / turn / "embeddings.npz", device=bench.device)
        found[f"product, {turn}"] = round(n / (time.perf_counter() - start), 1)
    exact = None
    for precision in ("fp32", "bf16"):
        for size in (32,) if precision == "fp32" else (8, 16, 32, 64):
            for _turn in range(2 if bench.cuda else 1):
                start = time.perf_counter()
                z = one_embedding(bench, encoder, folder, precision, size)
                rate = round(n / (time.perf_counter() - start), 1)
            exact = z if exact is None else exact
            error = float((z - exact).norm() / exact.norm())
            found[f"{precision}, batch {size}"] = {"volumes_per_s": rate, "relative_error": error}
    return found


def one_embedding(bench: Bench, encoder: Path, folder: Path, precision: str, size: int) -> torch.Tensor:
    """Embed the cohort."""
    arrays = open_arrays(folder)
    model, _ = load_encoder(encoder, arrays)
    with applied(resolve(bench.device, precision)) as place:
        return embed_arrays(model, arrays, device=place, batch_size=size)


CHILD = """if True:
    import json, os, sys
    given = json.loads(sys.argv[1])
    sys.path.insert(0, given["root"])
    import logging; logging.basicConfig(level="WARNING")
    from pathlib import Path
    from anatcl.base.errors import InputError
    from benchmarks.gpu_common import Bench
    from benchmarks.gpu_loop import one_loop, pretrain
    bench = Bench(given["device"], given["tiny"], 600, Path(given["room"]))
    try:
        first = os.environ.get("RANK", "0") == "0"  # the one that writes files
        print(json.dumps((one_loop if first else pretrain)(bench, given["name"], True)))
    except InputError as error:
        sys.exit(f"InputError: {error}")"""


def start_child(bench: Bench, name: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Train in a process of its own."""
    given = {"root": str(ROOT), "device": bench.device, "tiny": bench.tiny, "room": str(bench.room), "name": name}
    command = [sys.executable, "-c", CHILD, json.dumps(given)]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **(environment or {})}, start_new_session=True, **streams)


def finish(child: subprocess.Popen[str], seconds: float) -> Any:
    """Result of a child, or how it ended."""
    try:
        out, err = child.communicate(timeout=max(seconds, 1))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return f"ended by force after {seconds:.0f} s"
    return json.loads(out.splitlines()[-1]) if child.returncode == 0 else {"exit": child.returncode, "says": err[-400:]}


def processes(bench: Bench) -> dict[str, Any]:
    """Two runs at once on one GPU, then one run of two processes on it."""
    expected, names = straight(bench), ("one", "two")
    # The first has no compiled kernels to take over from earlier runs, and both compile or start beside each other.
    fresh = {"TORCHINDUCTOR_CACHE_DIR": str(bench.room / "compiled"), "TRITON_CACHE_DIR": str(bench.room / "triton")}
    children = [start_child(bench, "one", fresh), start_child(bench, "two")]
    found: dict[str, Any] = {name: finish(c, bench.left() - 5) for name, c in zip(names, children, strict=True)}
    for name in names:
        found[f"{name}, beside a lone run"] = guarded(lambda name=name: differences(expected, bench.room / name))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [start_child(bench, "both", {**group, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    for rank, child in enumerate(ranks):
        found[f"one run of two processes, rank {rank}"] = finish(child, min(45.0 if rank == 0 else 5.0, bench.left()))
    return found
