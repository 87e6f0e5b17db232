"""The steps from a dataset's folder to its index."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pandas as pd

from anatcl.base.closure import code_digest
from anatcl.base.errors import InputError
from anatcl.base.joins import compare, some
from anatcl.base.pointers import FETCH, explain, printable
from anatcl.base.queries import fits_query
from anatcl.base.words import does, plural
from anatcl.bids import check, filters, names, phenotypes, walk
from anatcl.bids.cache import Cache
from anatcl.bids.layouts import layout_of
from anatcl.bids.openbhb import looks_like_release
from anatcl.bids.tables import Table, from_texts, read_table, typed
from anatcl.spec.bids import Options
from anatcl.spec.layout import EXCLUDED, RAW
from anatcl.spec.openbhb import LAYOUT

STAGE = "bids"
GIVE = "Give the folder that holds sub-* folders: --config bids_dir=<folder>."


@dataclasses.dataclass
class Index:
    """A dataset's index.

    Attributes
    ----------
    scans : DataFrame
        One row per usable scan that was asked for: scan, path, participant_id, session_id, entities, phenotypes.
    excluded : DataFrame
        What was asked for and is not used: scan, participant_id, stage, reason, file, remedy.
    participants : DataFrame
        One row per participant in `scans`: participant_id, number of scans, phenotypes that hold for every session.
    warnings : list of dict
        ``about``, ``warning``, ``remedy``: what was accepted or ignored, and should be known.
    notes : DataFrame
        The same as a table for the report (about, note, remedy), with paths in the dataset; without scans not used.
    counts : dict of str to int
        Images found, not asked for, excluded, used.
    """

    scans: pd.DataFrame
    excluded: pd.DataFrame
    participants: pd.DataFrame
    warnings: list[dict[str, str]]
    notes: pd.DataFrame
    counts: dict[str, int]


class Builder:
    """The steps from a folder to an `Index`; each adds to what the ones before it found."""

    def __init__(self, root: Path, options: Options, cache_file: Path | None) -> None:
        self.root, self.options = root, options
        self.layout = layout_of(options)
        self.cache = Cache(cache_file, [str(root), options.place(), options.limits(), code_digest(__name__)])
        self.excluded: list[dict[str, str]] = []
        self.warnings: list[dict[str, str]] = []
        self.named: dict[str, names.Name] = {}
        self.files: dict[str, str] = {}  # scan to path in the dataset
        self.prints: dict[str, str] = {}
        self.skipped = 0

    def build(self) -> Index:
        """List, check, describe, filter."""
        try:
            listing = self.layout.walk(self.root)
        except OSError as error:
            raise InputError(f"the folder cannot be read ({error.strerror}).", self.root, GIVE) from error
        if not listing.participants and not listing.problems:
            raise InputError(self.layout.nobody, self.root, self._remedy())
        self._patterns(listing)
        for image in listing.images:
            self._image(image)
        self._problems(listing)
        tables = self.layout.tables(self.root)
        known = phenotypes.read(self.root, self._sessions(listing), self.options, tables)
        self.warnings = known.warnings + self.warnings
        self._unknown(listing, known)
        self._copies()
        self._runs()
        scans = self._query(self._scans(known))
        self.cache.save()
        people, counts = self._participants(scans, known), self._counts(listing, scans)
        return Index(scans, self._excluded(), people, self.warnings, self._notes(scans), counts)

    def _remedy(self) -> str:
        """What to do about a folder without images."""
        release = self.options.layout != LAYOUT and looks_like_release(self.root)
        return f"It has the layout of the OpenBHB release: set bids: {{layout: {LAYOUT}}}." if release else GIVE

    def _warn(self, about: str, warning: str, remedy: str = "") -> None:
        self.warnings.append({"about": about, "warning": warning, "remedy": remedy})

    def _exclude(self, relative: str, reason: str, remedy: str, scan: str = "") -> None:
        """Name a path of the dataset as unused."""
        row = {
            "scan": printable(scan or self.layout.stem(relative)),
            "participant_id": printable(self.layout.participant(relative)),
            "stage": STAGE,
            "reason": printable(reason),
            "file": printable(relative),
            "remedy": remedy,
        }
        self.excluded.append(row)

    def _wanted(self, relative: str) -> bool:
        participant = self.layout.participant(relative)
        return filters.asked_for(participant, self.options) and not filters.left_out(participant, self.options)

    def _patterns(self, listing: walk.Listing) -> None:
        for option, pattern in filters.unmatched(listing.participants, self.options):
            self._warn(f"participants.{option}", f"{pattern!r} matches no participant.", "Check its spelling.")

    def _image(self, relative: str) -> None:
        """Take an image in or leave it out."""
        participant = self.layout.participant(relative)
        if not filters.asked_for(participant, self.options):
            self.skipped += 1
            return
        if filters.left_out(participant, self.options):
            self._exclude(
                relative, "the participant is excluded by the configuration.", "Remove it from participants: exclude."
            )
            return
        verdict = self._verdict(relative)
        if "entities" in verdict and not filters.fits_entities(names.Name("", verdict["entities"]), self.options):
            self.skipped += 1
            return
        if "reason" in verdict:
            self._exclude(relative, verdict["reason"], verdict["remedy"])
            return
        self._accept(relative, verdict)

    def _accept(self, relative: str, verdict: dict[str, Any]) -> None:
        scan = self.layout.stem(relative)
        if scan in self.named:
            self._exclude(relative, f"{self.files[scan]} is the same scan in another format.", "Remove one of the two.")
            return
        self.named[scan] = names.Name(scan, verdict["entities"])
        self.files[scan] = relative
        self.prints[scan] = verdict["print"]
        for note in verdict["notes"]:
            self._warn(scan, note)

    def _verdict(self, relative: str) -> dict[str, Any]:
        """Return what is known of an image: entities if its name is good; reason and remedy if it is unusable."""
        path = self.root / relative
        try:
            return self.cache.get(relative, check.state(path), lambda: self._examine(relative, path))
        except OSError as error:
            self.cache.forget(relative)
            broken = path.is_symlink()
            return {"reason": explain(path, error), "remedy": FETCH if broken else check.PERMIT}

    def _examine(self, relative: str, path: Path) -> dict[str, Any]:
        verdict: dict[str, Any] = {}
        try:
            verdict["entities"] = self.layout.parse(relative).entities
            return verdict | self.layout.check(path, self.options.limits())
        except InputError as error:
            return verdict | {"reason": error.reason, "remedy": error.remedy}

    def _problems(self, listing: walk.Listing) -> None:
        """Name folders that cannot be used, and participants in whom no T1w image was found."""
        for problem in listing.problems:
            if self._wanted(problem.path):
                self._exclude(problem.path, problem.reason, problem.remedy)
        paths = [*listing.images, *(problem.path for problem in listing.problems)]
        seen = {self.layout.participant(path) for path in paths}
        for participant in listing.participants:
            if participant not in seen and self._wanted(participant):
                others = ", ".join(sorted(listing.others.get(participant, ())))
                reason = f"the participant has no T1w image (found: {printable(others) or 'no anatomical image'})."
                self._exclude(participant, reason, "Add a T1w image, or leave the participant out.")

    def _sessions(self, listing: walk.Listing) -> list[tuple[str, Table]]:
        """Read the sessions tables of participants; one that cannot be read costs its ages, not the cohort."""
        found = []
        for participant, relative in listing.sessions.items():
            path = self.root / relative
            try:
                kept = self.cache.get(relative, check.state(path), lambda p=path: _plain(read_table(p)))  # type: ignore[misc]
                found.append((participant, Table(**(kept | {"file": path}))))
            except (InputError, OSError) as error:
                self.cache.forget(relative)
                self._warn(relative, f"the table is ignored: {getattr(error, 'reason', error)}", check.COPY)
        return found

    def _unknown(self, listing: walk.Listing, known: phenotypes.Phenotypes) -> None:
        """Say whose phenotypes are missing, and which rows belong to nobody."""
        if not known.rows:
            return
        described = {participant for participant, _ in known.rows}
        people = {f"sub-{name.entities['sub']}" for name in self.named.values()}
        table = str(self.root / "participants.tsv")
        bare = compare(people, described)
        if bare.left:
            who = f"{plural(len(bare.left), 'participant with scans')} {does(len(bare.left), 'has', 'have')} no row"
            reason = f"{who}: {some(bare.left)}.{bare.hint()}"
            self._warn(table, reason, "Add or rename rows; their scans stay in, without phenotypes.")
        idle = compare(described, listing.participants)
        if idle.left:
            rows = f"{plural(len(idle.left), 'row')} {does(len(idle.left), 'belongs', 'belong')} to no folder"
            reason = f"{rows}: {some(idle.left)}.{idle.hint()}"
            self._warn(table, reason, "Compare the names (leading zeros, letter case).")
        self._unknown_sessions(known)

    def _unknown_sessions(self, known: phenotypes.Phenotypes) -> None:
        """Say which sessions of the scans no row describes, where rows are by session, and which rows have no scan."""
        rows = {key for key in known.rows if key[1]}
        of_rows = {person for person, _ in rows}
        visits = {_visit(name) for name in self.named.values()}
        visits = {visit for visit in visits if visit[0] in of_rows}
        bare = compare(map(" ".join, visits), map(" ".join, rows))
        idle = compare(map(" ".join, {row for row in rows if row[0] in {v[0] for v in visits}}), map(" ".join, visits))
        about = str(self.root / "sessions.tsv")
        if text := bare.sentence("session with scans", "rows of the tables"):
            self._warn(about, f"{text} Values that belong to a session (age ...) are missing for them.", bare.cure())
        if text := idle.sentence("row by session", "sessions with scans"):
            self._warn(about, f"{text} These rows are not used.", idle.cure())

    def _copies(self) -> None:
        """Warn of files with the same content: one person twice would leak from training to test."""
        same: dict[str, list[str]] = {}
        for scan, fingerprint in self.prints.items():
            if fingerprint:
                same.setdefault(fingerprint, []).append(scan)
        for scans in same.values():
            if len(scans) > 1:
                self._warn(scans[0], f"{some(scans)} hold the same image.", "Exclude the copies.")

    def _runs(self) -> None:
        if self.options.runs == "first":
            for scan, first in filters.later_runs(self.named.values()).items():
                reason = f"run policy: the first usable run of the session is {first}."
                self._exclude(self.files[scan], reason, "Set runs: all in config to use every run.")
                del self.named[scan]

    def _scans(self, known: phenotypes.Phenotypes) -> pd.DataFrame:
        present = {key for name in self.named.values() for key in name.entities}
        entities = [key for key in RAW if key in present]
        rows = []
        for scan in sorted(self.named):
            name = self.named[scan].entities
            person, session = _visit(self.named[scan])
            row = {"scan": scan, "path": self.files[scan]}
            row |= {"participant_id": person, "session_id": session}
            row |= {key: name.get(key, "") for key in entities} | known.of(person, session)
            told = self.layout.described(self.files[scan])
            rows.append(row | {key: row.get(key) or value for key, value in told.items()})
        first = ["scan", "path", "participant_id", "session_id", *entities]
        more = dict.fromkeys([*known.columns, *(key for row in rows[:1] for key in row)])
        return from_texts(rows, [*first, *(c for c in more if c not in first)])

    def _query(self, scans: pd.DataFrame) -> pd.DataFrame:
        if not self.options.query or scans.empty:
            return scans
        kept = fits_query(typed(scans), self.options.query, key=("participants", "query"))
        for scan in scans.loc[~kept.to_numpy(), "scan"]:
            reason = f"it does not match participants.query ({self.options.query})."
            self._exclude(self.files[scan], reason, "Change the query to include it.")
        return scans[kept.to_numpy()].reset_index(drop=True)

    def _excluded(self) -> pd.DataFrame:
        rows = sorted(self.excluded, key=lambda row: (row["scan"], row["file"]))
        return from_texts(rows, list(EXCLUDED))

    def _notes(self, scans: pd.DataFrame) -> pd.DataFrame:
        unused = set(self.files) - set(scans["scan"])
        rows = []
        for item in self.warnings:
            about = item["about"].removeprefix(f"{self.root}{os.sep}")
            rows.append({"about": printable(about), "note": item["warning"], "remedy": item["remedy"]})
        return from_texts([row for row in rows if row["about"] not in unused], ["about", "note", "remedy"])

    def _participants(self, scans: pd.DataFrame, known: phenotypes.Phenotypes) -> pd.DataFrame:
        numbers = scans["participant_id"].value_counts(sort=False)
        rows = [
            {"participant_id": person, "n_scans": str(numbers[person]), **known.of(person)}
            for person in sorted(numbers.index)
        ]
        return from_texts(rows, ["participant_id", "n_scans", *known.columns])

    def _counts(self, listing: walk.Listing, scans: pd.DataFrame) -> dict[str, int]:
        return {
            "T1w images found": len(listing.images),
            "not asked for": self.skipped,
            "scans used": len(scans),
            "excluded rows": len(self.excluded),
            "participants used": int(scans["participant_id"].nunique()),
        }


def _visit(name: names.Name) -> tuple[str, str]:
    """Participant and session of a scan; the session is empty without one."""
    return f"sub-{name.entities['sub']}", f"ses-{name.entities['ses']}" if "ses" in name.entities else ""


def _plain(table: Table) -> dict[str, Any]:
    """A table as JSON data, for the cache."""
    return dataclasses.asdict(table) | {"file": str(table.file)}
