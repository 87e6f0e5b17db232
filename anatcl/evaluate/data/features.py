"""Features of the probes: embeddings of encoders, columns of a measures table, another feature table, or none."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, read_tsv
from anatcl.base.joins import compare
from anatcl.base.spikes import spikes
from anatcl.base.words import plural
from anatcl.spec.names import GUESS, REGIONAL, TISSUE, VOLUMES
from anatcl.spec.task import Task

log = logging.getLogger(__name__)
REGION = re.compile(r"(thickness|thicknessstd|volume|area)_[lr]h_.+")
DEMOGRAPHICS = ("age", "sex", "tiv_mm3")
KEYS = ("scan", "participant_id", "session_id", "subject_id")


@dataclasses.dataclass
class Features:
    """Feature matrices aligned with the rows of a scans table.

    Attributes
    ----------
    matrices : dict of int to ndarray of shape (n, d)
        One matrix per encoder fold; a single matrix under the key -1 serves every fold.
    present : ndarray of shape (n,), bool
        False where a row has no features (its matrix rows are NaN).
    names : list of d str
        Names of the features.
    other_seeds : tuple of Features
        The same rows by encoders that differ from these in nothing but their seed.
    notes : tuple of str
        What a reader of the scores must know: rows that found no partner, values that look like codes.
    """

    matrices: dict[int, np.ndarray]
    present: np.ndarray
    names: list[str]
    other_seeds: tuple[Features, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, fold: int) -> np.ndarray:
        """Matrix for the outer fold `fold`, shape (n, d)."""
        if -1 in self.matrices:
            return self.matrices[-1]
        if fold not in self.matrices:
            raise InputError(f"no embeddings of the encoder of fold {fold}.", remedy=f"Found: {sorted(self.matrices)}.")
        return self.matrices[fold]

    def take(self, rows: np.ndarray) -> Features:
        """The same features for some rows only."""
        matrices = {k: m[rows] for k, m in self.matrices.items()}
        seeds = tuple(f.take(rows) for f in self.other_seeds)
        return Features(matrices, self.present[rows], self.names, seeds, self.notes)


def no_features(n: int) -> Features:
    """No feature at all, for the method that guesses the median or the majority."""
    return Features({-1: np.zeros((n, 0))}, np.ones(n, bool), [])


def demographics(table: pd.DataFrame, target: str) -> Features:
    """Age, sex and TIV alone, less the target: what no image is needed for (but its size)."""
    columns, names = [], []
    for name in [c for c in DEMOGRAPHICS if c in table and c != target]:
        if pd.api.types.is_numeric_dtype(table[name]):
            columns.append(table[name].to_numpy(float))
            names.append(name)
            continue
        levels = sorted(table[name].dropna().astype(str).unique())[1:]
        missing = table[name].isna()
        columns += [np.where(missing, np.nan, table[name].astype(str) == level) for level in levels]
        names += [f"{name}={level}" for level in levels]
    if not names and any(c in table and table[c].notna().any() for c in DEMOGRAPHICS):
        note = (
            f"{', '.join(c for c in DEMOGRAPHICS if c in table and c != target)} do not vary: predictions are a guess"
        )
        return dataclasses.replace(no_features(len(table)), notes=(note,))
    if not names:
        raise InputError("the scans table has none of age, sex, tiv_mm3.", remedy="Give --measures for the TIV.")
    matrix = np.column_stack(columns).astype(float)
    return Features({-1: matrix}, np.isfinite(matrix).any(1), names)


def write_embeddings(out: str | Path, scans: pd.Series, people: pd.Series, found: np.ndarray) -> None:
    """Write ``embeddings.npz`` as :func:`load_embeddings` reads it: scan, participant_id, embedding (N, D)."""
    if not len(scans) == len(people) == len(found):
        raise ValueError(f"{len(found)} embeddings of {len(scans)} scans and {len(people)} people")
    with atomic_path(out) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, scan=scans.to_numpy(str), participant_id=people.to_numpy(str), embedding=found)


def load_embeddings(folder: str | Path, scans: pd.Series, seeds: int | None = None) -> Features:
    """Read ``fold-{k}/embeddings.npz`` of one method and align them with `scans`.

    Further seeds of the same encoder lie in ``seed-{s}/fold-{k}/embeddings.npz``. Encoders that have seen no
    participant of the cohort are used for every fold: ``seed-{s}/embeddings.npz``. Only the first `seeds` are read: a
    run that had more has left theirs behind.

    Raises
    ------
    InputError
        No file, or a file without the arrays ``scan`` and ``embedding``.
    """
    first, *others = [_one_seed(place, scans) for place in seed_folders(Path(folder))[:seeds]]
    present = np.logical_and.reduce([first.present, *(f.present for f in others)])
    return dataclasses.replace(first, present=present, other_seeds=tuple(others))


def seed_folders(folder: Path) -> list[Path]:
    """The folder itself where it holds folds, then its seeds by number."""
    seeds = sorted(folder.glob("seed-*"), key=lambda p: (len(p.name), p.name))
    return seeds if seeds and not any(folder.glob("fold-*")) else [folder, *seeds]


def _one_seed(folder: Path, scans: pd.Series) -> Features:
    files = sorted(folder.glob("fold-*/embeddings.npz"))
    if not files and (folder / "embeddings.npz").is_file():
        return load_embeddings_of(folder / "embeddings.npz", scans)
    if not files:
        raise InputError("no fold-*/embeddings.npz.", folder, "Run `python -m anatcl evaluate embed` first.")
    matrices, present = {}, np.ones(len(scans), bool)
    for file in files:
        matrix = aligned_embeddings(file, scans)
        matrices[int(file.parent.name.removeprefix("fold-"))] = matrix
        present &= np.isfinite(matrix).all(1)
    return Features(matrices, present, [f"e{i:03d}" for i in range(matrix.shape[1])])


def load_embeddings_of(file: str | Path, scans: pd.Series) -> Features:
    """Read the embeddings of one encoder alone and align them with `scans`."""
    matrix = aligned_embeddings(Path(file), scans)
    return Features({-1: matrix}, np.isfinite(matrix).all(1), [f"e{i:03d}" for i in range(matrix.shape[1])])


def aligned_embeddings(file: Path, scans: pd.Series) -> np.ndarray:
    """Read the embeddings of one file in the order of `scans`, shape (n, D); NaN for a scan that it lacks."""
    with np.load(file, allow_pickle=False) as data:
        if not {"scan", "embedding"} <= set(data.files):
            raise InputError("the file lacks the arrays `scan` and `embedding`.", file=file)
        names, embedding = data["scan"].astype(str), data["embedding"].astype(float)
    place = pd.Index(names)
    if not place.is_unique:
        raise InputError("a scan occurs in the embeddings more than once.", file=file)
    where = place.get_indexer(scans.astype(str))
    return np.where(where[:, None] >= 0, embedding[where], np.nan)


def used_columns(tasks: Iterable[Task]) -> set[str]:
    """Columns that tasks use: no feature set that is not named by the user may take them."""
    found: set[str] = set()
    for task in tasks:
        found |= {task.target, task.group, task.site, *task.covariates, *task.preserve}
        found |= {group.column for group in task.gap_groups}
        found |= set(re.findall(r"[^\W\d]\w*", f"{task.query} {task.train_query} {task.covariates_query}"))
    return found


def load_table(path: str | Path, feature_set: str, scans: pd.DataFrame, used: Collection[str] = ()) -> Features:
    """Read features from a table and align them with the scans table.

    Parameters
    ----------
    path : str or Path
        TSV or CSV with a column ``scan``, or ``participant_id`` (and ``session_id``) where features are per
        participant.
    feature_set : str
        ``regional-measures`` (every thickness, volume and area of a region), ``tissue-volumes`` (TIV, GM, WM, CSF),
        ``majority-median`` (none), ``all`` (every numeric column but those of `used` and of the scans table), or a
        regular expression that whole column names must match.
    scans : DataFrame of n rows
        Columns ``scan``, ``participant_id`` and perhaps ``session_id``.
    used : collection of str
        Columns of the tasks, see `used_columns`.
    """
    if feature_set == GUESS:
        return no_features(len(scans))
    table = read_table(path)
    if feature_set == "all":
        table = without_answers(table, {*used, *scans.columns}, path)
    columns = select_columns(table, feature_set, path)
    keys = _keys(table, scans, path)
    table = table.dropna(subset=keys[:1])
    if table.duplicated(keys).any():
        twice = table.loc[table.duplicated(keys), keys[0]].iloc[0]
        raise InputError(
            f"rows of the feature table repeat the same {keys} ({twice}).",
            path,
            "Keep one row of each, or add the column that tells them apart (scan or session_id).",
        )
    where = pd.Index(_joined(table, keys)).get_indexer(_joined(scans, keys))
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    matrix = np.where((where >= 0)[:, None], values[where] if len(values) else np.nan, np.nan)
    notes = [*_unmatched(table, scans, keys), *_coded(table, columns)]
    for note in notes:
        log.warning("%s: %s", path, note)
    return Features({-1: matrix}, np.isfinite(matrix).any(1), columns, notes=tuple(notes))


def _unmatched(table: pd.DataFrame, scans: pd.DataFrame, keys: list[str]) -> list[str]:
    """What to say of rows without a partner: nothing where only some scans have no features, as after exclusions."""
    ours, theirs = (_joined(side, keys).str.replace("\t", " ") for side in (scans, table))
    found = compare(ours, theirs)
    if not found.matched:
        return [f"no {' and '.join(keys)} of the feature table is that of a scan.{found.hint()}"]
    return [found.sentence("scan", "rows of the feature table").rstrip()] if found.left and found.example else []


def _coded(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Values of foreign columns that look like codes for missing, in one sentence."""
    foreign = [c for c in columns if not REGION.fullmatch(c) and c not in VOLUMES]
    hits = {c: found for c in foreign if (found := spikes(table[c].dropna().astype(float)))}
    if not hits:
        return []
    name, values = next(iter(hits.items()))
    codes = ", ".join(f"{value:g}" for value in values)
    more = f" and in {plural(len(hits) - 1, 'more column')}" if len(hits) > 1 else ""
    return [f"{codes} in column {name}{more} look like codes for missing and are read as numbers: write n/a for them"]


def without_answers(table: pd.DataFrame, used: Collection[str], path: str | Path = "") -> pd.DataFrame:
    """The table without columns named as one of `used`, whatever their case and signs; measured volumes stay."""
    names = {_plain(name) for name in used} - {_plain(name) for name in VOLUMES}
    left = [c for c in table.columns if c not in KEYS and _plain(c) in names]
    if left:
        log.warning("%s: %s are columns of a task or of the scans table and are not taken as features.", path, left)
    return table.drop(columns=left)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", str(name)).casefold()


def _joined(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Key columns as one text per row."""
    return table[keys].fillna("n/a").astype(str).agg("\t".join, axis=1)


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a TSV, or a CSV by its suffix, identifiers as text."""
    return read_tsv(path) if Path(path).suffix != ".csv" else pd.read_csv(path, dtype=dict.fromkeys(KEYS, str))


def select_columns(table: pd.DataFrame, feature_set: str, path: str | Path = "") -> list[str]:
    """Names of the columns of a feature set, in a stable order that does not depend on the file's."""
    numeric = [c for c in table.columns if c not in KEYS and pd.api.types.is_numeric_dtype(table[c])]
    if feature_set == REGIONAL:
        chosen = [c for c in numeric if REGION.fullmatch(c)]
    elif feature_set == TISSUE:
        chosen = [c for c in VOLUMES if c in numeric]
    elif feature_set == "all":
        chosen = numeric
    else:
        chosen = [c for c in numeric if re.fullmatch(feature_set, c)]
    if not chosen:
        told = f"Numeric columns: {', '.join(numeric[:20])}." if numeric else "It has no numeric column."
        raise InputError(f"no numeric column matches {feature_set!r}.", path, told)
    return sorted(chosen)


def _keys(table: pd.DataFrame, scans: pd.DataFrame, path: str | Path) -> list[str]:
    """By what to join: the scan, else participant and session, else the participant."""
    if "scan" in table:
        return ["scan"]
    if "participant_id" not in table:
        raise InputError("the feature table has neither `scan` nor `participant_id`.", file=path)
    both = "session_id" in table and "session_id" in scans and table["session_id"].notna().any()
    return ["participant_id", "session_id"] if both else ["participant_id"]
