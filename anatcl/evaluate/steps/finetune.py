"""Fine-tuning from files to files: an option beside the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.probes.finetune import FineTune, rows_as_features
from anatcl.evaluate.steps.gather import FLOATS
from anatcl.evaluate.steps.inputs import scans_table
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.device import applied, resolve
from anatcl.spec.task import load_task


def run_finetune(
    task: str | dict[str, Any],
    method: str,
    arrays: str | Path,
    scans: str | Path,
    folds: str | Path,
    out_predictions: str | Path,
    out_scores: str | Path,
    *,
    device: str = "auto",
    threads: int = 1,
    epochs: int = 10,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    settings: Settings,
) -> None:
    """Fine-tune the encoders of ``settings.pretrained`` on one task; outputs as `run_task`."""
    assert settings.pretrained is not None
    packed, table = open_arrays(arrays), scans_table(scans, None)
    where = resolve(device, threads=threads)
    runner = FineTune(packed, settings.pretrained, where, epochs, batch_size, learning_rate)
    given = rows_as_features(table["scan"], packed)
    wanted = load_task(task).at(settings.site_column)
    with applied(where):
        predictions, found = evaluate_task(wanted, method, table, given, read_tsv(folds), settings, runner)
    write_tsv(out_predictions, predictions, FLOATS)
    write_tsv(out_scores, found, FLOATS)
