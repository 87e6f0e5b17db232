"""The cohort: the index, decisions by hand about single scans, and the chunks of the aggregation."""

from __future__ import annotations

import functools
import logging
import math
import os
import zlib
from pathlib import Path

import pandas as pd

from anatcl.base import failures
from anatcl.base.errors import InputError
from anatcl.base.files import read_tsv
from anatcl.base.joins import some
from anatcl.base.words import plural
from anatcl.bids.derivatives import find_maps
from anatcl.plan.given import link, without_braces
from anatcl.spec.bids import PACKED, Options
from anatcl.spec.config import Config
from anatcl.spec.corrections import Corrections, read_corrections
from anatcl.spec.layout import COHORT_PAGE, EXCLUDED_TABLES, FAILURES, INDEX, PRETRAIN, person_stem, steps
from anatcl.spec.measures_engine import measures_engine
from anatcl.spec.openbhb import MAPS, RELEASE, measure_files

log = logging.getLogger(__name__)
PAGE_JOBS = 256  # jobs that write pages of participants, at most
SHOWN = ("session_id", "age", "sex", "site", "diagnosis")  # columns of the index that a participant's page has
LEAVE_OUT = "ANATCL_LEAVE_OUT"  # in the environment of a pass that leaves out even what it was to retry


class Cohort:
    """The scans of a run.

    Parameters
    ----------
    config : Config
        The configuration.
    refresh : bool
        Bring the index up to date when the cohort is first asked for; jobs only read the index.
    """

    def __init__(self, config: Config, refresh: bool = False) -> None:
        self.config = config
        self.refresh = refresh
        self.weights: dict[str, float] = {}

    # -- index --------------------------------------------------------------------------------------------------

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """``scans.tsv``: one row per usable scan, indexed by its BIDS stem."""
        if self.refresh:
            from anatcl.bids.index import refresh

            table = refresh(self.root, INDEX, self.options())
        else:
            table = read_tsv(INDEX / "scans.tsv")
        return table.set_index("scan", drop=False)

    def index_file(self, name: str) -> str:
        """Path of ``scans``, ``excluded``, ``participants`` or ``notes`` of the index, brought up to date first."""
        _ = self.index
        return str(INDEX / f"{name}.tsv")

    @property
    def source(self) -> str:
        """Where maps come from.

        ``""``: made from the scans; ``release``: of the dataset; ``maps``: another program's; ``packed``: arrays.
        """
        if self.config.pretrain.maps:
            return MAPS
        given = self.config.pretrain.arrays
        return given if given in ("", RELEASE) else PACKED

    @property
    def root(self) -> str:
        """Folder that the index is of: the dataset, or the packed arrays."""
        return self.config.pretrain.arrays if self.source == PACKED else self.config.bids_dir

    @property
    def taken(self) -> str:
        """Folder that maps or arrays are taken from, where none are made."""
        return self.config.pretrain.maps or self.root

    def options(self) -> Options:
        """Options of the index."""
        maps = {"": "", MAPS: "", RELEASE: self.config.pretrain.map}.get(self.source, PACKED)
        return Options(**{**dict(self.config.bids), **dict(self.config.participants), "maps": maps})

    @functools.cached_property
    def images(self) -> dict[str, str]:
        """Paths of the raw images by scan (a table is slow to look up in, thousands of times)."""
        root = self.root
        return {scan: f"{root}/{path}" for scan, path in zip(self.index["scan"], self.index["path"], strict=True)}

    def image(self, scan: str) -> str:
        """Path of the raw image of a scan."""
        return self.images[scan]

    def weight(self, scan: str) -> float:
        """How much more time and memory a scan asks for than an ordinary one: by the size of its file.

        A whole head of 1 mm is 10 MB or so, compressed. Rules ask for twice as much at 36 MB (0.6 mm).
        """
        if scan not in self.weights:  # each rule asks for it twice
            if scan in self.persons:
                return max(self.weight(one) for one in self.persons[scan])
            path = Path(self.image(scan))
            size = path.stat().st_size / 1e6 if path.exists() else 0.0
            self.weights[scan] = 1 + max(0.0, size * (1.0 if path.suffix == ".gz" else 0.5) - 12) / 24
        return self.weights[scan]

    @property
    def parts(self) -> tuple[str, ...]:
        """Files of rules between index and pretraining."""
        return ("take",) if self.source else ("preprocess", "measures", "report_pages", "pretrain_pack")

    @property
    def page(self) -> list[str]:
        """The cohort's page; none where the dataset has maps of its own and no scan is preprocessed."""
        return [] if self.source else [str(COHORT_PAGE)]

    @functools.cached_property
    def engine(self) -> str:
        """Engine of the measures: the configured one, or what recipe and atlas say."""
        return measures_engine(self.config)

    @property
    def steps(self) -> list[str]:
        """Rules that work on single scans, in the order of the data; none where the dataset has maps of its own."""
        return [] if self.source else steps(self.engine)

    def files(self) -> list[str]:
        """Files that the arrays are packed from, where they come from the dataset."""
        if self.source == MAPS:
            return [str(path) for path in find_maps(self.taken, self.scans).values()]
        if self.source == PACKED:
            return [f"{self.root}/{name}" for name in ("volumes.npy", "rows.tsv", "arrays.json")]
        return list(self.images.values())

    def measure_files(self) -> list[str]:
        """Files that the measures are taken from, where they come from the dataset; those that are there."""
        if self.source == MAPS:
            return []
        root = Path(self.root)
        packed = [path for path in (root / "measures.tsv",) if path.is_file()]
        return [str(path) for path in (packed if self.source == PACKED else measure_files(root))]

    @property
    def exclusions(self) -> list[str]:
        """Tables of what the stages between index and evaluation left out."""
        return [str(file) for file in EXCLUDED_TABLES if not self.source or file.is_relative_to(PRETRAIN)]

    # -- who takes part -----------------------------------------------------------------------------------------

    @functools.cached_property
    def failed(self) -> pd.DataFrame:
        """Markers of scans that failed in an earlier pass and belong to this cohort."""
        table = failures.failed(FAILURES)
        return table[table["scan"].isin(self.index["scan"])]

    @functools.cached_property
    def broken(self) -> list[str]:
        """Stems of participants' mean scans that could not be made in an earlier pass."""
        if not self.config.measures.longitudinal:
            return []
        ours = set(map(person_stem, self.index["scan"]))
        return sorted(ours & set(failures.failed(FAILURES)["scan"]))

    @property
    def retries(self) -> bool:
        """Whether scans that failed before are tried again; never twice in one command."""
        return self.config.failures.retry and LEAVE_OUT not in os.environ

    def left_out(self) -> list[str]:
        """Scans left out because they failed before."""
        return [] if self.retries else sorted(self.failed["scan"])

    @functools.cached_property
    def scans(self) -> list[str]:
        """BIDS stems of the scans to work on, sorted: all usable ones but those that failed before.

        Raises
        ------
        InputError
            No scan is left, or one failed and ``failures: fatal`` is set.
        """
        left_out = self.left_out()
        if left_out and self.config.failures.fatal:
            raise InputError(
                f"{plural(len(left_out), 'scan')} failed and failures: fatal is set ({some(left_out, 3)}).",
                FAILURES,
                "Repair them and run with failures: retry, or exclude them (participants: exclude).",
            )
        scans = sorted(set(self.index["scan"]) - set(left_out))
        if not scans:
            remedy = f"Read {INDEX / 'excluded.tsv'} and {FAILURES}."
            raise InputError("there is no scan to process.", self.config.bids_dir, remedy)
        return scans

    @functools.cached_property
    def persons(self) -> dict[str, list[str]]:
        """Scans by the stem of their participant's mean scan; empty without ``measures: longitudinal``.

        A person has one who has several scans, unless making it failed before: then each scan goes its own way.

        Raises
        ------
        InputError
            A raw scan has the name of a template.
        """
        found: dict[str, list[str]] = {}
        if not self.config.measures.longitudinal:
            return found
        for scan in self.scans:
            found.setdefault(person_stem(scan), []).append(scan)
        if taken := sorted(set(found) & set(self.index["scan"])):
            raise InputError(
                f"measures: longitudinal: true makes an image named {taken[0]}, and a raw scan has that name.",
                self.image(taken[0]),
                "Rename the scan, or exclude it (participants: exclude).",
            )
        broken = [] if self.retries else self.broken
        return {stem: scans for stem, scans in found.items() if len(scans) > 1 and stem not in broken}

    def person(self, scan: str) -> str:
        """Stem of the template that a scan begins with; empty for a scan that goes its own way."""
        stem = person_stem(scan)
        return stem if scan in self.persons.get(stem, ()) else ""

    @functools.cached_property
    def chunks(self) -> dict[str, list[str]]:
        """Scans by chunk. A participant's chunk depends on the name alone, so that a new one does not move others."""
        count = 2 ** max(0, math.ceil(math.log2(len(self.scans) / self.config.measures.chunk)))
        width = len(str(count - 1))
        found: dict[str, list[str]] = {}
        for scan in self.scans:
            number = zlib.crc32(scan.split("/")[0].encode()) % count
            found.setdefault(f"{number:0{width}d}", []).append(scan)
        return dict(sorted(found.items()))

    @functools.cached_property
    def page_groups(self) -> dict[str, list[str]]:
        """Scans by the job that writes their participants' pages.

        A job for each participant, so that a page is there as soon as its scans are measured; of many participants,
        `PAGE_JOBS` jobs for some of them each, since a job costs seconds before it draws anything.
        """
        people = {scan: scan.split("/")[0] for scan in self.scans}
        few = len(set(people.values())) <= PAGE_JOBS
        found: dict[str, list[str]] = {}
        for scan, name in people.items():
            group = name if few else f"{zlib.crc32(name.encode()) % PAGE_JOBS:03d}"
            found.setdefault(group, []).append(scan)
        return dict(sorted(found.items()))

    def people_text(self, scans: list[str]) -> str:
        """Rows of the index of some scans, as JSON text: what their participants' pages say of them."""
        kept = [name for name in SHOWN if name in self.index]
        return self.index.loc[scans, kept].to_json(orient="index")

    # -- what a person decided ----------------------------------------------------------------------------------

    @functools.cached_property
    def corrections(self) -> Corrections:
        """Decisions by hand about single scans."""
        return read_corrections(self.config.preprocess.corrections)

    def given_mask(self, scan: str) -> list[str]:
        """Path of the mask that the user gives for a scan, as a list that is empty without one."""
        strip = self.config.preprocess.skullstrip
        if scan in self.corrections.masks:
            mask = Path(self.corrections.masks[scan])
            return [without_braces(str(link(f"mask-{Path(scan).name}", mask.parent) / mask.name))]
        given = without_braces(strip.masks.replace("{scan}", scan)) if strip.method == "mask" else ""
        return [given] if os.path.isfile(given) else []  # noqa: PTH113 - thousands; the step of a scan without one fails

    def skullstrip_method(self, scan: str) -> str:
        """Where the masks of a scan come from: a corrected mask beats the configured method."""
        return "mask" if scan in self.corrections.masks else self.config.preprocess.skullstrip.method
