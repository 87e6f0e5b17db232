"""Everything that shapes a training's numbers; see `anatcl.pretrain.checkpoint`."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

from anatcl.base.closure import code_digest, modules_digest
from anatcl.base.files import sha256
from anatcl.base.syntax import NAME
from anatcl.pretrain import checkpoint
from anatcl.pretrain.augment import Augment
from anatcl.pretrain.bundle import input_contract

if TYPE_CHECKING:
    from anatcl.pretrain.session import Run

# The epochs say when to end, not what to do on the way: a run with more of them goes on from one with fewer. What a run
# looks at, writes for others to look at, or offers to other methods changes no weight.
NOT_SHAPING = ("augment", "compile", "epochs", "tensorboard", "probe_every", "joint", "own")
LOOP = tuple(
    f"anatcl.pretrain.{name}"
    for name in (
        *("session", "train", "batches", "compiling", "device", "distributed"),
        *("optimise", "chunks", "outputs"),
    )
)


def identity(run: Run) -> dict[str, Any]:
    """Everything that shapes the result's numbers: a checkpoint with another identity is not resumed."""
    scans = run.data.train.rows["scan"].tolist()
    return {
        "method": run.data.method,
        "views": run.views,
        "augmentation": run.transforms,
        "option": _options(run),
        "precision": run.place.precision,
        "device": run.place.device.type,
        "compiled": run.compiled,
        "processes": run.world.size,
        "input": input_contract(run.data.arrays.meta),
        "number of training scans": len(scans),
        "names of the training scans": hashlib.sha256("\n".join(scans).encode()).hexdigest(),
        "values of the volumes": run.data.arrays.sha256,
        "labels": {name: checkpoint.digest(t) for name, t in run.targets.items()},
        "code": _code(run),
    }


def _options(run: Run) -> dict[str, Any]:
    """Options that shape the weights; of objectives, the method's own. A cosine ends with the last epoch."""
    told, method = run.options.as_dict(), run.data.method
    found = {k: v for k, v in told.items() if k not in NOT_SHAPING}
    found |= {k: {method: told[k][method]} for k in ("joint", "own") if method in told[k]}
    cosine = {"epochs": told["epochs"]} if run.options.schedule == "cosine" else {}
    return found | cosine


def _code(run: Run) -> dict[str, str]:
    """Digests of the code that computes; how a run reads, probes, logs and saves does not count."""
    parts = {
        "of the networks": _digest({"anatcl.models", type(run.model.encoder).__module__}),
        "of the training loop": modules_digest(*LOOP),
    }
    if run.augment:
        parts["of the augmentation"] = code_digest(Augment.__module__)
    if run.loss:
        parts["of the loss"] = _digest({type(loss).__module__ for loss in (run.loss, *run.loss.parts.values())})
    return parts


def _digest(modules: set[str]) -> str:
    """Digest of modules of this package by what they say, and of a user's own by their bytes."""
    ours = {name for name in modules if name.partition(".")[0] == NAME}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in sorted(modules - ours)]
    return code_digest(*sorted(ours)) + "".join(sha256(file)[:12] for file in files if file)
