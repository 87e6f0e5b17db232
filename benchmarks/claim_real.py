"""Data B of the claim's test: real maps, folds of people, FreeSurfer's thickness decoded. See `benchmarks.claim`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv, write_json, write_tsv
from anatcl.base.provenance import hardware, versions
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.folds import make_folds
from anatcl.spec.names import RIVALS, UNTRAINED
from anatcl.spec.task import load_task
from benchmarks import claim_cells as cells
from benchmarks.claim_cells import CLEAN, TABLES, TWIN, Cell, Size

METHODS = ("anatcl-global", "anatcl-global-z", "anatcl-z", "regress")
NONE = "none"


def run(args: argparse.Namespace) -> None:
    """Train, embed and score what the arrays hold."""
    from benchmarks.claim import run_jobs

    root: Path = args.folder
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "people.tsv").is_file():
        cohort(args)
    size = Size(args.steps, args.batch, args.encoder, args.seeds, args.seeds, args.bootstrap)
    plan = list(encoders(args.poolings, args.folds, size))
    names = [(cell.folder(root) / "seconds.json").relative_to(root).as_posix() for cell in plan]
    jobs = zip(names, plan, strict=True)
    run_jobs(root, [(name, cells.train_cell, (root, cell, size, 1, False, True)) for name, cell in jobs], args.jobs)
    wanted = dict.fromkeys((c.method, c.pooling) for c in plan)
    scored = [(m, p, sorted({c.seed for c in plan if (c.method, c.pooling) == (m, p)})) for m, p in wanted]
    scored += [(m, NONE, [0]) for m in TABLES]
    run_jobs(root, [(f"scores/{p}/{m}.json", score_cell, (root, m, p, s, size)) for m, p, s in scored], args.jobs)
    write_json(root / "machine.json", {"hardware": hardware(), "versions": versions()})
    people = len(read_tsv(root / "tested.tsv"))
    write_json(root / "arguments.json", {"people": people, "folds": args.folds, "steps": args.steps})
    print(json.dumps({"people": people, "cells": len(plan), "scored": len(scored)}))


def encoders(poolings: list[str], folds: int, size: Size) -> Iterator[Cell]:
    """Every encoder of data B."""
    names = [UNTRAINED, "y-aware", *(m + twin for m in METHODS for twin in ("", TWIN))]
    for fold in range(folds):
        yield from (Cell(rival, NONE, 0, fold) for rival in RIVALS)
        for seed in range(size.seeds):
            yield from (Cell(name, pooling, seed, fold) for pooling in poolings for name in names)


def cohort(args: argparse.Namespace) -> None:
    """Average the maps over blocks, deal folds, and join what is decoded."""
    from benchmarks.claim import write_blocks

    root: Path = args.folder
    found = open_arrays(args.arrays)
    write_blocks(found, np.arange(len(found.rows)), root / "arrays", args.block)
    measures = read_tsv(args.measures)
    write_tsv(root / "measures.tsv", measures)
    rows = found.rows
    write_tsv(root / "folds.tsv", make_folds(rows, args.folds, 0))
    tiv = measures.set_index("scan")["tiv_mm3"].reindex(rows["scan"]).to_numpy()
    tested = rows.assign(tiv_mm3=tiv)
    write_tsv(root / "tested.tsv", tested)
    write_tsv(root / "decoded.tsv", targets(args.decode, measures, rows))
    write_tsv(root / "people.tsv", read_tsv(root / "folds.tsv"))


def targets(path: Path | None, measures: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Measures that are decoded, by scan: a table by person or scan, or the measures that are trained with."""
    if path is None:
        table, key = measures, "scan"
        names = [c for c in table if c.split("_")[0] in ("thickness", "volume", "area") and c.count("_") > 1]
    else:
        table = read_tsv(path)
        key = "scan" if "scan" in table else "participant_id"
        names = [c for c in table if c.endswith(("_thickness", "_volume", "_area"))]
        table = table.rename(columns={c: "_".join([c.rpartition("_")[2], c.rpartition("_")[0]]) for c in names})
        names = ["_".join([c.rpartition("_")[2], c.rpartition("_")[0]]) for c in names]
    people = rows[key].astype(str)
    if key == "participant_id" and not set(people) & set(table[key].astype(str)):
        people = people.str.removeprefix("sub-")
    if not set(people) & set(table[key].astype(str)):
        raise InputError(f"nobody of the arrays is in it, by {key}.", path, "Give the table of the same people.")
    values = table.assign(**{key: table[key].astype(str)}).set_index(key)[names].reindex(people)
    return values.reset_index(drop=True).assign(scan=rows["scan"].to_numpy())


def score_cell(root: Path, method: str, pooling: str, seeds: list[int], size: Size) -> None:
    """Decoding, age and sex of one method."""
    table, folds = read_tsv(root / "tested.tsv"), read_tsv(root / "folds.tsv")
    features = cells.features_of(root, method, pooling, CLEAN, table, seeds)
    found, detail = {}, {"seeds": len(seeds)}
    found["decode"], detail["decode"] = cells.decoded(root, table, features, size)
    for name in ("age", "sex"):
        task, settings = load_task(name), Settings("folds", shuffles=0, n_bootstrap=0)
        rows, scores = evaluate_task(task, method, table, features, folds, settings)
        if len(rows):
            found[name] = cells.judged(task, rows, scores, size)
    cells.save(root / "scores" / pooling / method, found, detail)
