"""Data C of the claim's test: what kernels hold, on real tables of measures. See `benchmarks.claim`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.evaluate.data import units
from anatcl.evaluate.data.features import Features
from anatcl.evaluate.data.protocols import make_splits
from anatcl.evaluate.probes.cross_validation import cross_validate
from anatcl.evaluate.statistics.scores import score_rows
from anatcl.evaluate.steps.inputs import join
from anatcl.spec.protocol import load_design
from anatcl.spec.task import load_task
from benchmarks.claim_cells import ANATOMICAL

COMPONENTS = 10
BATCH, DRAWS = 32, 20
COLUMN = r"^(?P<hemi>[lr]h)_(?P<region>.+)_(?P<kind>thickness|volume|area)$"
WHOLE = ("MeanThickness", "WhiteSurfArea")
TASKS: dict[str, dict[str, Any]] = {
    "age": {"kind": "regression", "target": "age"},
    "sex": {"kind": "binary", "target": "sex"},
    "site": {"kind": "multiclass", "target": "site"},
}
METRIC = {"age": "r2", "sex": "roc_auc", "site": "balanced_accuracy"}


def run(tables: Sequence[Path], people: Path) -> dict[str, Any]:
    """Numbers of every kernel: what its components hold, its perplexity, its share of gradient.

    Parameters
    ----------
    tables : sequence of path
        Tables of `aparcstats2table`: one row per person, ``lh_bankssts_thickness``.
    people : path
        ``participant_id``, ``age``, ``sex``, perhaps ``site``.
    """
    measures, head = read_tables(tables)
    table = read_tsv(people).drop_duplicates("participant_id").set_index("participant_id")
    table = table.loc[table.index.intersection(measures.index)]
    table = table[pd.to_numeric(table["age"], errors="coerce").notna()]
    measures = measures.loc[table.index]
    x, kinds = stacked(measures)
    kept = np.isfinite(x).all((1, 2))
    table, x = table[kept], x[kept]
    covariates = np.column_stack(
        [table["age"].to_numpy(float), (table["sex"].astype(str).str.upper().str[0] == "M").to_numpy(float),
         head.loc[table.index].to_numpy(float)]
    )  # fmt: skip
    found = {name: one_kernel(name, loss, table, x, covariates) for name, loss in losses().items()}
    raw = x.reshape(len(x), -1)
    found["measures"] = {"holds": holds(table, raw)}
    return {"people": len(table), "regions": x.shape[1], "kinds": kinds, "kernels": found}


def read_tables(tables: Sequence[Path]) -> tuple[pd.DataFrame, pd.Series]:
    """Measures of all tables by person, and the intracranial volume."""
    read = [read_tsv(path) for path in tables]
    parts = [table.set_index(table.columns[0]) for table in read]
    joined = pd.concat(parts, axis=1)
    joined = joined.loc[:, ~joined.columns.duplicated()]
    head = joined.get("eTIV", joined.get("EstimatedTotalIntraCranialVol", pd.Series(np.nan, joined.index)))
    regional = joined.columns.str.match(COLUMN) & ~joined.columns.str.contains("|".join(WHOLE))
    if not regional.any():
        raise InputError("no column is named as lh_bankssts_thickness is.", tables[0], "Give aparcstats2table's.")
    return joined.loc[:, regional], head


def stacked(measures: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Measures as (n, K, M), and the names of the M kinds."""
    named = measures.columns.str.extract(COLUMN)
    kinds = sorted(set(named["kind"]))
    regions = sorted(set(named["hemi"] + "_" + named["region"]))
    columns = [[f"{region}_{kind}" for kind in kinds] for region in regions]
    return np.stack([measures.reindex(columns=row).to_numpy(float) for row in columns], axis=1), kinds


def losses() -> dict[str, Any]:
    """Losses with a kernel, by the names of the design."""
    from anatcl.pretrain.methods import find_method
    from anatcl.spec.training import Options

    found = {}
    for name in ("y-aware", *(n for n in ANATOMICAL if "regress" not in n)):
        parts, more = ANATOMICAL.get(name, ({name: 1.0}, {}))
        method = find_method(next(iter(parts)))
        assert method.loss is not None
        found[name] = method.loss(Options.parse(more))
    return found


def one_kernel(name: str, loss: Any, table: pd.DataFrame, x: np.ndarray, covariates: np.ndarray) -> dict[str, Any]:
    """Numbers of one kernel, of its anatomical part where it has one."""
    import torch

    from anatcl.losses.kernels import perplexity

    raw = {"age": covariates[:, 0], "measures": x, "covariates": covariates}
    targets = loss.fit({key: torch.from_numpy(np.asarray(v, np.float32)) for key, v in raw.items()})
    weights = loss.weights(targets)
    kernel = weights.get("anatomy", next(iter(weights.values())))
    return {
        "holds": holds(table, components(kernel.double().numpy())),
        "perplexity": perplexity(kernel),
        "gradient_share": gradient_share(kernel),
    }


def components(kernel: np.ndarray) -> np.ndarray:
    """First principal components of a kernel (centred), shape (n, k)."""
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    order = np.argsort(-np.abs(values))[:COMPONENTS]
    return np.asarray(vectors[:, order] * np.sqrt(np.abs(values[order])))


def holds(table: pd.DataFrame, x: np.ndarray) -> dict[str, dict[str, float]]:
    """Age (R2), sex (ROC AUC) and, with several, site (balanced accuracy) by cross-validated probes."""
    rows = table.rename_axis("participant_id").reset_index().assign(scan=table.index)
    features = Features({-1: x}, np.ones(len(x), bool), [f"c{i}" for i in range(x.shape[1])])
    found = {}
    for name, told in TASKS.items():
        if name not in rows or rows[name].nunique() < 2:
            continue
        values = sorted(set(rows["sex"].dropna().astype(str))) if name == "sex" else []
        more = {"positives": values[1:2], "negatives": values[:1]} if values else {}
        task = load_task({"name": name, **told, **more})
        problem, own = join(task, rows, features)
        ((protocol, splits),) = make_splits(load_design({"kind": "repeated"}), problem, None, [-1], 0).items()
        outcome = cross_validate(problem, own, splits, 0)  # no audit: to a kernel of ages, people of one age are alike
        labelled = units.label(outcome.predictions, problem, protocol, "site")
        scored = {r["metric"]: r for r in score_rows(problem, labelled, outcome.missing_variance, 500, 0)}
        found[name] = {key: float(scored[METRIC[name]][key]) for key in ("value", "low", "high")}
    return found


def gradient_share(kernel: Any) -> float:
    """How much of the term's gradient depends on who is who: 0 where equal weights would do the same.

    Batches of 32 people, random embeddings: the norm of the difference between the gradient under the kernel and under
    equal weights, relative to the latter's, as in `benchmarks.methods`.
    """
    import torch

    from anatcl.losses.base import soft_info_nce

    random, shares = torch.Generator().manual_seed(0), []
    for _ in range(DRAWS):
        ids = torch.randperm(len(kernel), generator=random)[:BATCH]
        w = kernel[ids][:, ids].double()
        z = torch.nn.functional.normalize(torch.randn(len(ids), 128, generator=random, dtype=torch.float64), dim=1)
        z.requires_grad_()
        both = []
        for weights in (w, torch.ones_like(w)):
            value = soft_info_nce(z, {"w": weights}, 0.1, copies=2)["w"]
            both.append(torch.autograd.grad(value, z)[0])
        shares.append(float((both[0] - both[1]).norm() / both[1].norm()))
    return float(np.mean(shares))
