"""A finished run as an RO-Crate: the workflow, its configuration and its tables, described for other programs.

By default nothing in it names a participant: tables of participants and scans stay out, lists of names in the
configuration are left out, and every file is searched for the participants' names before the crate is kept.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anatcl import __version__
from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.run.places import snakefile
from anatcl.spec.layout import BENCHMARKS, EVALUATE, INDEX, MEASURES, PAGE, PREPROCESS, RECORD, REPORT

# What a crate holds of a run, with what it is; tables of whole cohorts, without a row per participant or scan.
TABLES = {
    REPORT / "benchmark.tsv": "Benchmark: metrics of every method in every task, with their intervals",
    REPORT / "tables": "The same figures as tables for reading and printing",
    REPORT / "methods.md": "Methods text for a paper",
    REPORT / "runtime.tsv": "Time and memory of each rule",
    EVALUATE / "scores.tsv": "Metrics as the evaluation wrote them",
    EVALUATE / "comparisons.tsv": "Paired comparisons of methods",
    EVALUATE / "added.tsv": "What each method adds to the confounds",
    EVALUATE / "confounds.tsv": "Association of targets with site, age, sex, head size and image quality",
    EVALUATE / "subgroups.tsv": "Metrics by subgroup",
    MEASURES / "measures.json": "Description of the columns of the measures",
}
# With the names of participants.
OF_PEOPLE = {
    PAGE: "The report, with a picture of every scan",
    REPORT / "excluded.tsv": "Scans that were left out, with the reason",
    INDEX / "scans.tsv": "Scans of the dataset",
    INDEX / "participants.tsv": "Participants of the dataset, with ages, sexes, sites and diagnoses",
    PREPROCESS / "qc.tsv": "Image quality of each scan",
    MEASURES / "measures.tsv": "Regional measures of each scan",
}
NAMING = {"participants": ("include", "exclude", "query"), "preprocess": ("accept", "reject")}
MIT = "https://spdx.org/licenses/MIT"
NO_LICENCE = "No licence is stated: ask the person who shares this crate."


def write(folder: Path, out: Path, name: str = "", licence: str = "", people: bool = False) -> Path:
    """Write the crate of a finished run.

    Parameters
    ----------
    folder : path
        Where the workflow ran: it holds ``results``.
    out : path
        A new folder, or a file that ends in ``.zip``.
    name : str
        What the crate is called; by default what the dataset is called.
    licence : str
        Licence of the results, as an address or in words.
    people : bool
        Put in what names participants.

    Raises
    ------
    InputError
        The run is not finished, `out` is there already, or a file names a participant though `people` is false.
    """
    from rocrate.rocrate import ROCrate

    for needed in (REPORT / "benchmark.tsv", RECORD):
        if not (folder / needed).is_file():
            raise InputError("there is no finished run here.", folder / needed, "Name the folder that holds `results`.")
    if out.exists():
        raise InputError("the crate exists already.", out, "Remove it, or give another path.")
    about = _dataset(folder)
    crate = ROCrate()
    crate.name = name or f"AnatCL benchmark of {about['name']}"
    crate.description = "Benchmark tables of brain MRI, the workflow that made them, and its configuration."
    crate.license = licence or NO_LICENCE
    with tempfile.TemporaryDirectory() as made:
        record = _recorded(folder, Path(made), people)
        used = [crate.add_file(str(path), path.name, properties=_said(text)) for path, text in record.items()]
        workflow = _workflow(crate)
        dataset = crate.add_jsonld(about)
        wanted = TABLES | (OF_PEOPLE if people else {})
        results = [_added(crate, folder, file, text) for path, text in wanted.items() for file in _files(folder / path)]
        _action(crate, folder, workflow, [*used, dataset], results)
        _finish(crate, out, set() if people else _names(folder))
    return out


def _said(text: str) -> dict[str, str]:
    return {"description": text}


def _added(crate: Any, folder: Path, file: Path, text: str) -> Any:
    return crate.add_file(str(file), file.relative_to(folder).as_posix(), properties=_said(text))


def _dataset(folder: Path) -> dict[str, Any]:
    """The dataset of the scans, which the crate only names."""
    file = folder / "results" / "given" / "dataset" / "dataset_description.json"
    said = read_json(file) if file.is_file() else {}
    name, identifier = said.get("Name") or "a BIDS dataset", said.get("DatasetDOI")
    about = {
        "@id": "#dataset",
        "@type": "Dataset",
        "name": name,
        "description": "The scans. They are not in this crate.",
    }
    return about | ({"identifier": identifier} if identifier else {})


def _recorded(folder: Path, made: Path, people: bool) -> dict[Path, str]:
    """Configuration and versions of the run, written to a temporary folder."""
    record = read_json(folder / RECORD)
    config = record.pop("config", {})
    record = {key: record[key] for key in ("versions", "code", "hardware") if key in record}
    files = {"config.json": (config if people else _without_names(config), "Configuration of the run, every key")}
    files["run.json"] = (record, "Versions, digests of the code, and the machine of the main process")
    for name, (content, _) in files.items():
        (made / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return {made / name: text for name, (_, text) in files.items()}


def _without_names(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for section, keys in NAMING.items():
        for key in keys:
            if found.get(section, {}).get(key):
                found[section][key] = "left out: it may name participants"
    return found


def _workflow(crate: Any) -> Any:
    """Add the rules and the environments; the library itself is named with its version."""
    main = snakefile()
    root = main.parents[1]
    about = {"name": "anatcl-workflow", "version": __version__, "license": MIT}
    workflow = crate.add_workflow(str(main), "workflow/Snakefile", properties=about, main=True, lang="snakemake")
    parts = [*sorted((root / "rules").glob("*.smk")), *sorted((root / "envs").glob("*.yaml")), root / "config.yaml"]
    workflow["hasPart"] = [crate.add_file(str(path), path.relative_to(root).as_posix()) for path in parts]
    return workflow


def _action(crate: Any, folder: Path, workflow: Any, used: Sequence[Any], results: Sequence[Any]) -> None:
    about = {"name": "Run of the workflow", "actionStatus": "http://schema.org/CompletedActionStatus"}
    action = crate.add_action(workflow, "#run", object=used, result=results, properties=about | _times(folder))
    crate.root_dataset["mentions"] = [action]


def _times(folder: Path) -> dict[str, str]:
    """Begin of the first job and end of the last one, by the tables that Snakemake writes at the end of each."""
    spans = []
    for table in (folder / BENCHMARKS).rglob("*.tsv"):
        end = table.stat().st_mtime
        spans.append((end - float(read_tsv(table)["s"].sum()), end))
    if not spans:
        return {}
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    return {"startTime": _date(first), "endTime": _date(last)}


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _names(folder: Path) -> set[str]:
    """Names of all participants of the run, those without a usable scan, too."""
    tables = [folder / INDEX / name for name in ("participants.tsv", "scans.tsv", "excluded.tsv")]
    found = [read_tsv(table) for table in tables if table.is_file()]
    return {str(name) for table in found if "participant_id" in table for name in table["participant_id"].dropna()}


def _finish(crate: Any, out: Path, names: Iterable[str]) -> None:
    """Write to a temporary place, search it for names, and only then put it where it is wanted."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as made:
        place = Path(made) / "crate"
        crate.write(str(place))
        _refuse_names(place, names)
        if out.suffix == ".zip":
            shutil.move(shutil.make_archive(str(place), "zip", place), out)
        else:
            shutil.move(place, out)


def _refuse_names(place: Path, names: Iterable[str]) -> None:
    if not (words := sorted(map(re.escape, names), key=len, reverse=True)):
        return
    pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])")
    for file in (path for part in ("results", "config.json", "run.json") for path in _files(place / part)):
        if found := pattern.search(file.read_text(encoding="utf-8", errors="replace")):
            remedy = "Take the name out of it, or give --with-participants if the crate may name them."
            raise InputError(f"it names the participant {found[0]}.", file.relative_to(place), remedy)


def _files(path: Path) -> list[Path]:
    """The file itself, or those of a folder but for hidden ones; none where nothing is there."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in files if file.is_file() and not file.name.startswith(".")]
