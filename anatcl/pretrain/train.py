"""Pretrain one method without one fold: the loop, from top to bottom."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.provenance import recorded
from anatcl.base.words import does, plural
from anatcl.pretrain import distributed
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.batches import Reader, epoch_order
from anatcl.pretrain.checkpoint import StopSignal
from anatcl.pretrain.cohort import held_out_part, load_cohort, training_part
from anatcl.pretrain.device import SMALL_ENCODER, Device, applied, resolve
from anatcl.pretrain.labels import imputed, permuted
from anatcl.pretrain.methods import find_method
from anatcl.pretrain.session import Data, Run
from anatcl.spec.training import Options

log = logging.getLogger(__name__)
SAVE_EVERY = 300  # seconds between two checkpoints


@dataclass(frozen=True)
class Inputs:
    """Files and words that say what to train on.

    Attributes
    ----------
    arrays : path
        Folder of packed arrays.
    folds : path
        folds.tsv.
    fold : int
        Held-out fold; -1 holds out no participant.
    method : str
    out_dir : path
    measures : path, optional
        measures.tsv.
    query : str
        pandas query on rows.tsv.
    """

    arrays: str | Path
    folds: str | Path
    fold: int
    method: str
    out_dir: str | Path
    measures: str | Path | None = None
    query: str = ""


def train(
    inputs: Inputs,
    options: Options,
    device: str = "auto",
    precision: str = "auto",
    deterministic: bool = True,
    threads: int = 0,
) -> int:
    """Pretrain one method without one fold.

    Writes ``encoder.safetensors``, ``model.json``, ``history.tsv``, ``run.json`` and, every five minutes, on a signal
    and at the end, ``last.ckpt`` to ``inputs.out_dir``. With the same parameters and data it goes on from
    ``last.ckpt``. Under ``torchrun`` the processes share each batch.

    Returns
    -------
    int
        0, or 128 + the signal that asked it to stop after saving.
    """
    world = distributed.start(device)
    place = resolve(device, precision, deterministic, threads, options.encoder == SMALL_ENCODER, world.local_rank)
    with applied(place):
        status = _train(inputs, options, place, world)
    distributed.stop(world)
    return status


def _train(inputs: Inputs, options: Options, place: Device, world: distributed.World) -> int:
    log.info("%s, fold %d, on %s", inputs.method, inputs.fold, place)
    options = options.of(inputs.method)
    method = find_method(inputs.method, options)
    loss = method.loss(options) if method.loss else None

    arrays = open_arrays(inputs.arrays)
    cohort, folds = load_cohort(arrays, inputs.measures, inputs.query), read_tsv(inputs.folds)
    needs = loss.needs if loss else ()
    part = training_part(cohort, folds, inputs.fold, needs, options.missing_measures == "drop")
    if len(part) < 2:
        lost = ", ".join(f"{reason}: {count}" for reason, count in part.dropped.items()) or "there are no other scans"
        raise InputError(
            f"{plural(len(part), 'scan')} {does(len(part), 'is', 'are')} left to train on ({lost}).",
            file=inputs.arrays,
            remedy="Complete the labels, include more participants, or choose a method that needs none of these.",
        )
    if "features" in needs:
        part = imputed(part)
        part = permuted(part, options.seed) if options.permuted else part
    data = Data(arrays, part, held_out_part(cohort, folds, inputs.fold), inputs.method, inputs.fold)

    out = Path(inputs.out_dir)
    parameters = {**options.as_dict(), "method": inputs.method, "fold": inputs.fold}
    writes: contextlib.AbstractContextManager[dict[str, Any]]
    writes = recorded(out, parameters) if world.main else contextlib.nullcontext({})
    with writes as record:
        run = Run(data, options, method, loss, place, world, out)
        record |= {"device": str(place), "processes": world.size, "scans": len(part), "dropped": part.dropped}
        status = 0 if loss is None else loop(run, record)
        if status == 0:
            run.write_encoder()
    return status


def loop(run: Run, record: dict[str, Any]) -> int:
    """Train to the last epoch, saving now and then and at the end; return the exit status."""
    run.resume()
    options, cohort = run.options, run.data.train
    reader = Reader(run.data.arrays, run.place.device, workers=4, resident=cohort.index)
    bar = tqdm(total=options.epochs, initial=run.epoch, desc=run.data.method, unit="epoch", disable=None)
    saved = time.monotonic()
    with StopSignal() as stop:
        while not run.finished():
            order = epoch_order(len(cohort), options.batch_size, options.seed, run.epoch)
            rows = cohort.index[run.world.share(order)]
            run.network.train()
            todo = zip(order[run.done :], reader.batches(list(rows[run.done :])), strict=True)
            for ids, x in todo:
                run.backward(x, ids, summed(run.done, options.accumulate, len(order)))
                run.done += 1
                if run.done % options.accumulate and run.done < len(order):
                    continue
                run.update()
                if run.finished():  # before signals: what ends here writes its last epoch
                    break
                if run.must_stop(stop):
                    run.save()
                    log.warning("signal %d: saved after step %d, to be continued", stop.received, run.step)
                    return 128 + stop.received
                if time.monotonic() - saved > SAVE_EVERY:
                    run.save()
                    saved = time.monotonic()
            run.end_epoch()
            bar.update()
    run.save()
    bar.close()
    reader.close()
    record |= {"steps": run.step, "data_wait_seconds": round(reader.waited, 3)}
    return 0


def summed(done: int, accumulate: int, batches: int) -> int:
    """Number of batches whose gradients the present step sums: fewer in the last step of an epoch, when they run out.

    >>> [summed(done, 4, 6) for done in range(6)]
    [4, 4, 4, 4, 2, 2]
    """
    first = done - done % accumulate
    return min(accumulate, batches - first)
