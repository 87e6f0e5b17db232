r"""The claim, tested.

Does each person's anatomy in pretraining give better representations? Methods against their permuted twins, with seeds,
on simulated people of two diseases and many scanners (a), on real maps (b), and kernels on real tables (c). The design,
fixed before the first run, is `docs/results/claim_design.md`; `page` writes `docs/results/claim.md`. Every encoder and
every scored method is one process and one folder: what is finished is kept, and several commands on one folder share
the work.

Run from the root of the repository::

    python -m benchmarks.claim a --folder scratch/claim
    python -m benchmarks.claim b --folder scratch/claim_ixi --arrays results/pretrain/arrays \
        --measures results/measures/measures.tsv --decode /data/freesurfer/thickness.tsv
    python -m benchmarks.claim c --folder scratch/claim --table lh.tsv rh.tsv --people participants.tsv
    python -m benchmarks.claim page --folder scratch/claim --real scratch/claim_ixi

Data A at the size of the paper, on a GPU machine's processors or its GPU::

    python -m benchmarks.claim a --folder scratch/full --people 8000 --block 1 --encoder resnet18 --steps 5000
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.files import read_json, read_tsv, write_json, write_tsv
from anatcl.base.provenance import hardware, versions
from anatcl.evaluate.data.split import deal
from anatcl.pretrain.arrays import PackedArrays, array_meta, open_arrays, write_arrays
from anatcl.spec.names import RIVALS, UNTRAINED
from benchmarks import claim_cells as cells
from benchmarks.claim_cells import ANATOMICAL, ATTEMPT, TABLES, TWIN, Cell, Size
from benchmarks.methods import blocks

log = logging.getLogger("benchmarks.claim")
POOLINGS = ("average", "grid")
NONE = "none"  # in the place of a pooling, for what has no encoder
SEED, SEVERITY, PARTS = 2026, 0.3, 4
QUICK = {"people": 160, "sites": 24, "each": 8, "steps": 2, "seeds": 1, "bootstrap": 50, "batch": 8}
Job = tuple[str, Callable[..., None], tuple[Any, ...]]


def main(argv: list[str] | None = None) -> None:
    """Run one part."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    args = parser().parse_args(argv)
    args.function(args)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = top.add_subparsers(required=True)
    a, b, c = (parts.add_parser(name) for name in "abc")
    for one in (a, b, c):
        one.add_argument("--folder", type=Path, required=True, help="working folder; what is finished in it is kept")
        one.add_argument("--bootstrap", type=int, default=1000, help="resamples")
    for one in (a, b):
        one.add_argument("--encoder", default="resnet-tiny")
        one.add_argument("--poolings", nargs="+", default=list(POOLINGS), choices=POOLINGS)
        one.add_argument("--jobs", type=int, default=1, help="processes side by side")
        one.add_argument("--block", type=int, default=2, help="voxels averaged along each axis")
    a.add_argument("--people", type=int, default=1600, help="simulated people")
    a.add_argument("--sites", type=int, default=24, help="simulated sites; the first half is pretrained on")
    a.add_argument("--each", type=int, default=44, help="tested people of each site")
    a.add_argument("--steps", type=int, default=150)
    a.add_argument("--batch", type=int, default=32)
    a.add_argument("--seeds", type=int, default=3)
    a.add_argument("--quick", action="store_true", help="a size that only shows that everything runs")
    a.set_defaults(function=run_a)
    b.add_argument("--arrays", type=Path, required=True, help="packed arrays of the real maps")
    b.add_argument("--measures", type=Path, required=True, help="measures.tsv of the same scans: what is trained with")
    b.add_argument("--decode", type=Path, help="table of measures that are decoded (default: --measures)")
    b.add_argument("--folds", type=int, default=4)
    b.add_argument("--steps", type=int, default=60)
    b.add_argument("--batch", type=int, default=16)
    b.add_argument("--seeds", type=int, default=1)
    b.set_defaults(function=run_b)
    c.add_argument("--table", type=Path, nargs="+", required=True, help="FreeSurfer tables (aparcstats2table)")
    c.add_argument("--people", type=Path, required=True, help="participants.tsv: participant_id, age, sex, site")
    c.set_defaults(function=run_c)
    page = parts.add_parser("page")
    page.add_argument("--folder", type=Path, help="folder of a and c; without it the committed results are drawn")
    page.add_argument("--real", type=Path, help="folder of b")
    page.set_defaults(function=write_page)
    return top


# -- jobs -------------------------------------------------------------------------------------------------------------


def run_jobs(folder: Path, jobs: list[Job], side_by_side: int) -> None:
    """Run each job in a process of its own, unless its file is there or another command is at it."""
    import torch

    import anatcl.evaluate.steps.embed
    import anatcl.pretrain.train  # noqa: F401  # once, not in every process

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    waiting, running = iter(jobs), []
    while True:
        while len(running) < side_by_side and (job := next(waiting, None)):
            if (lock := taken(folder, job[0])) is not None:
                process = context.Process(target=_run, args=job[1:])
                process.start()
                running.append((job[0], lock, process))
        if not running:
            return
        name, lock, process = running.pop(0)
        process.join()
        lock.unlink(missing_ok=True)
        log.info("%s%s", name, "" if process.exitcode == 0 else f": failed with {process.exitcode}")
        if process.exitcode:
            for _, other, one in running:
                one.join()
                other.unlink(missing_ok=True)
            sys.exit(process.exitcode)


def _run(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    function(*arguments)


def taken(folder: Path, name: str) -> Path | None:
    """The lock of a job, made; None where the job's file is there, or a living process holds its lock."""
    if (folder / name).is_file():
        return None
    lock = folder / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    if lock.is_file():
        holder = lock.read_text() or "0"
        if Path(f"/proc/{holder}").exists():
            return None
        lock.unlink(missing_ok=True)
    try:
        with open(lock, "x") as stream:
            stream.write(str(os.getpid()))
    except FileExistsError:
        return None
    return lock


def encoder_job(root: Path, cell: Cell, size: Size, perturb: bool = True) -> Job:
    """Train and embed one encoder."""
    name = (cell.folder(root) / "seconds.json").relative_to(root).as_posix()
    return name, cells.train_cell, (root, cell, size, 1, perturb)


# -- data A -----------------------------------------------------------------------------------------------------------


def run_a(args: argparse.Namespace) -> None:
    """Simulated people: train, embed, score."""
    for name, value in QUICK.items() if args.quick else ():
        setattr(args, name, value)
    root: Path = args.folder
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / "arguments.json", {k: v for k, v in vars(args).items() if k not in ("folder", "function")})
    run_jobs(root, [("people.tsv", cohort_a, (args,))], 1)
    while not (root / "people.tsv").is_file():  # another command is at it
        time.sleep(5)
    size = Size(args.steps, args.batch, args.encoder, args.seeds, 1 if args.quick else 5, args.bootstrap)
    plan = list(cells_a(args.poolings, size))
    run_jobs(root, [encoder_job(root, cell, size) for cell in plan], args.jobs)
    while not all((cell.folder(root) / "seconds.json").is_file() for cell in plan):
        time.sleep(5)
    wanted = dict.fromkeys((c.method, c.pooling) for c in plan)
    scored = [(m, p, [c.seed for c in plan if (c.method, c.pooling) == (m, p)]) for m, p in wanted]
    scored += [(m, NONE, [0]) for m in TABLES]
    jobs: list[Job] = [
        (f"{folder}/{p}/{m}.json", work, (root, m, p, s, size))
        for folder, work in (("scores", cells.score_cell), ("few", cells.few_cell))
        for m, p, s in scored
    ]
    run_jobs(root, jobs, args.jobs)
    write_json(root / "machine.json", {"hardware": hardware(), "versions": versions()})
    print(json.dumps({"cells": len(plan), "scored": len(scored)}))


def cells_a(poolings: list[str], size: Size) -> Iterator[Cell]:
    """Every encoder of data A: rivals first, then seed by seed, so that an early end leaves whole seeds."""
    yield from (Cell(rival, NONE, 0) for rival in RIVALS)
    names = ["y-aware", *itertools.chain.from_iterable((m, m + TWIN) for m in ANATOMICAL)]
    for seed in range(max(size.seeds, size.untrained_seeds)):
        if seed < size.untrained_seeds:
            yield from (Cell(UNTRAINED, pooling, seed) for pooling in poolings)
        if seed < size.seeds:
            yield from (Cell(name, pooling, seed) for pooling in poolings for name in names)
            if "grid" in poolings:
                yield Cell(ATTEMPT, "grid", seed)


def cohort_a(args: argparse.Namespace) -> None:
    """Simulate, keep who is needed, average over blocks; folds, quarters and parts of the tested people."""
    from anatcl.simulate.arrays import simulate_arrays

    root: Path = args.folder
    raw = root / "simulated"
    simulate_arrays(raw, args.people, SEED, severity=SEVERITY, scanners=args.sites, second_disease=True)
    found = open_arrays(raw)
    rows = found.rows.assign(number=np.arange(len(found.rows)))
    rows = rows[rows["session_id"] == "ses-1"]
    site = rows["site"].str.extract(r"(\d+)", expand=False).astype(int)
    early = rows[(site <= args.sites // 2) & (rows["diagnosis"] == "HC")]
    tested = rows[site > args.sites // 2].groupby("site", sort=True).head(args.each)
    kept = pd.concat([early, tested]).sort_values("number")
    write_blocks(found, kept["number"].to_numpy(), root / "arrays", args.block)
    measures = read_tsv(raw / "measures.tsv").set_index("scan").loc[kept["scan"]].reset_index()
    write_tsv(root / "measures.tsv", measures)
    fold = {"participant_id": kept["participant_id"], "fold": (~kept["scan"].isin(tested["scan"])).astype(int)}
    write_tsv(root / "folds.tsv", pd.DataFrame(fold))
    table = tested.drop(columns="number").merge(measures[["scan", "tiv_mm3"]], on="scan")
    write_tsv(root / "tested.tsv", table)
    regional = [c for c in measures if c.split("_")[0] in ("thickness", "volume", "area") and cortical(c, measures)]
    write_tsv(root / "decoded.tsv", measures.set_index("scan").loc[table["scan"], regional].reset_index())
    number = table["site"].str.extract(r"(\d+)", expand=False).astype(int)
    write_tsv(root / "quarters.tsv", pd.DataFrame({"participant_id": table["participant_id"], "fold": number % 4}))
    write_parts(root, table, PARTS)
    for file in raw.glob("volumes.npy"):
        file.unlink()


def cortical(column: str, measures: pd.DataFrame) -> bool:
    """Whether a column is of a cortical region: it has a thickness."""
    return f"thickness_{column.partition('_')[2]}" in measures


def write_blocks(found: PackedArrays, rows: np.ndarray, out: Path, block: int) -> None:
    """Some packed volumes, averaged over blocks of voxels, as packed arrays of their own."""
    shape = [n // block for n in found.shape]
    affine = np.array(found.meta["affine"], dtype=float)
    affine[:3, 3] += (block - 1) / 2 * affine[:3, :3].sum(1)
    affine[:3, :3] *= block
    kept = found.rows.iloc[rows].reset_index(drop=True)
    meta = array_meta(tuple(shape), affine, str(found.meta["map"]), [[0, n] for n in shape])
    write_arrays(out, (blocks(found.true(int(i)), block) for i in rows), kept, meta)


def write_parts(root: Path, table: pd.DataFrame, parts: int) -> None:
    """Folds of people, whatever their site, for decoding."""
    people = table["participant_id"].astype(str).to_numpy()
    dealt = deal(people, table["age"].to_numpy(float), parts, np.random.default_rng(SEED), continuous=True)
    frame = pd.DataFrame({"participant_id": people, "fold": dealt}).drop_duplicates("participant_id")
    write_tsv(root / "people.tsv", frame)


# -- data B -----------------------------------------------------------------------------------------------------------


def run_b(args: argparse.Namespace) -> None:
    """Real maps: see `benchmarks.claim_real`."""
    from benchmarks.claim_real import run

    run(args)


# -- data C -----------------------------------------------------------------------------------------------------------


def run_c(args: argparse.Namespace) -> None:
    """Kernels on real tables: see `benchmarks.claim_kernels`."""
    from benchmarks.claim_kernels import run

    args.folder.mkdir(parents=True, exist_ok=True)
    write_json(args.folder / "kernels.json", run(args.table, args.people))
    print(json.dumps(read_json(args.folder / "kernels.json")))


def write_page(args: argparse.Namespace) -> None:
    """The page from the results: see `benchmarks.claim_page`."""
    from benchmarks.claim_page import write

    write(args.folder, args.real)


if __name__ == "__main__":
    main()
