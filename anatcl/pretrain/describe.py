"""The description of a trained encoder: the content of ``model.json``, and the history for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anatcl.base.errors import InputError
from anatcl.base.provenance import versions
from anatcl.pretrain.bundle import input_contract
from anatcl.spec.training import Options

if TYPE_CHECKING:
    from anatcl.pretrain.session import Run


def description(run: Run) -> dict[str, Any]:
    """Content of model.json."""
    train, options = run.data.train, run.options
    return {
        "method": run.data.method,
        "architecture": options.encoder,
        "pooling": options.pooling,
        "head": run.head,
        **objective(options, run.data.method),
        "embedding_dim": int(run.model.encoder.out_features),  # type: ignore[arg-type]
        "input": input_contract(run.data.arrays.meta),
        "fold": run.data.fold,
        "seed": options.seed,
        "hyperparameters": options.as_dict(),
        "augmentation": run.transforms,
        "precision": run.place.precision,
        "compiled": run.compiled,
        "steps": run.step,
        "metrics": run.history[-1] if run.history else {},
        "weights_perplexity": run.kernels,
        "measures": {"regions": train.regions, "kinds": train.kinds},
        "statistics": run.loss.statistics() if run.loss else {},
        "train_scans": len(train),
        "dropped": train.dropped,
        "imputed": train.imputed,
        "permuted": train.permuted,
        "train_participants_sha256": train.participants_sha256,
        "train_participants": train.participants,
        "licence": "that of the training data",
        "versions": versions(("torch", "numpy")),
    }


def objective(options: Options, method: str) -> dict[str, str]:
    """A joint objective in words: ``1 y-aware + 0.5 regress``; nothing for a single method."""
    weights = options.joint.get(method, {})
    return {"objective": " + ".join(f"{w:g} {name}" for name, w in weights.items())} if weights else {}


def to_tensorboard(folder: Path, row: dict[str, float]) -> None:
    """Add an epoch of the history to TensorBoard's files.

    Raises
    ------
    InputError
        TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard is not installed.", remedy="pip install tensorboard, or leave it off.") from error
    with SummaryWriter(str(folder)) as writer:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["epoch"]))
