"""Fine-tuning from files to files: an option besides the probe."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anatcl.base.files import read_tsv, write_tsv
from anatcl.evaluate.probes.finetune import FineTune, Start, rows_as_features
from anatcl.evaluate.steps.embed_given import Maps, Packed, conformed
from anatcl.evaluate.steps.gather import FLOATS
from anatcl.evaluate.steps.inputs import scans_table
from anatcl.evaluate.steps.task import Settings, evaluate_task
from anatcl.pretrain.arrays import PackedArrays, open_arrays, write_arrays
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.device import applied, for_embedding
from anatcl.pretrain.outside import open_encoder
from anatcl.spec.encoders import Encoder
from anatcl.spec.task import load_task


@dataclass(frozen=True)
class Tuning:
    """How an encoder is trained on.

    Parameters
    ----------
    epochs : int
        Passes over the training rows.
    batch_size : int
        Volumes per step.
    learning_rate : float
        Of the encoder; the new output layer learns ten times faster.
    """

    epochs: int = 10
    batch_size: int = 8
    learning_rate: float = 1e-4


@dataclass(frozen=True)
class Ours:
    """Encoders of this cohort, one for each fold, and the packed volumes.

    Parameters
    ----------
    arrays : path
        Folder of the packed volumes.
    pretrained : path
        Folder of ``fold-*/encoder.safetensors``.
    """

    arrays: str | Path
    pretrained: str | Path

    @contextlib.contextmanager
    def opened(self, threads: int) -> Iterator[tuple[PackedArrays, Start, str]]:
        """Volumes, what gives an encoder for a fold, and the name of the network."""
        packed = open_arrays(self.arrays)
        first = sorted(Path(self.pretrained).glob("fold-*"))
        about = load_encoder(first[0])[1] if first else {"architecture": ""}
        folder = Path(self.pretrained)
        yield packed, lambda fold: load_encoder(folder / f"fold-{fold}", packed), str(about["architecture"])


@dataclass(frozen=True)
class Theirs:
    """An outside encoder (the first, where it is several), and the maps of the cohort.

    Parameters
    ----------
    encoder : str or dict
        What stands below a name in ``evaluate: encoders``.
    maps : Maps or Packed
    """

    encoder: str | dict[str, Any]
    maps: Maps | Packed

    @contextlib.contextmanager
    def opened(self, threads: int) -> Iterator[tuple[PackedArrays, Start, str]]:
        """As :meth:`Ours.opened`; the volumes lie in a temporary folder."""
        values = json.loads(self.encoder) if isinstance(self.encoder, str) else self.encoder
        given = Encoder.parse(values, "encoder").member(0)
        about = open_encoder(given)[1]
        contract = about["input"]
        with tempfile.TemporaryDirectory() as folder:
            rows, volumes = conformed(self.maps, contract, threads)
            write_arrays(folder, volumes, rows, {**contract, "n": len(rows)}, "float32")
            yield open_arrays(folder), lambda fold: open_encoder(given), str(about["architecture"])


def run_finetune(
    task: str | dict[str, Any],
    method: str,
    source: Ours | Theirs,
    scans: str | Path,
    folds: str | Path,
    out_predictions: str | Path,
    out_scores: str | Path,
    *,
    out_dir: str | Path | None = None,
    device: str = "auto",
    threads: int = 1,
    tuning: Tuning | None = None,
    settings: Settings,
) -> None:
    """Fine-tune encoders on one task; outputs as `run_task`, and the tuned networks in ``out_dir/fold-<k>``."""
    how, table = tuning or Tuning(), scans_table(scans, None)
    with source.opened(threads) as (packed, start, architecture):
        where = for_embedding(architecture, device, threads=threads)
        out = None if out_dir is None else Path(out_dir)
        runner = FineTune(packed, start, where, how.epochs, how.batch_size, how.learning_rate, out)
        given = rows_as_features(table["scan"], packed)
        wanted = load_task(task).at(settings.site_column)
        with applied(where):
            predictions, found = evaluate_task(wanted, method, table, given, read_tsv(folds), settings, runner)
    write_tsv(out_predictions, predictions, FLOATS)
    write_tsv(out_scores, found, FLOATS)
