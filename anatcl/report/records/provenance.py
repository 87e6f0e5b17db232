"""What ran, from the run records: versions, machines, time and memory per run."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Run records boiled down.

    Parameters
    ----------
    versions : dict of str to str
        Library versions, several joined where runs differ.
    machines : list of str
        Processor, memory and GPU of each distinct machine.
    runs : list of dict
        ``path``, ``seconds``, ``peak_memory_mb``, ``device``, ``seed`` per run.
    """

    versions: dict[str, str]
    machines: list[str]
    runs: list[dict[str, Any]]


def describe(records: list[dict[str, Any]]) -> Provenance:
    """Boil run records down."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, version in (record.get("versions") or {}).items():
            versions.setdefault(name, set()).add(str(version))
    machines = {_machine(record["hardware"]) for record in records if record.get("hardware")}
    return Provenance(
        {name: ", ".join(sorted(seen)) for name, seen in sorted(versions.items())},
        sorted(machines),
        [_run(record) for record in records],
    )


def _machine(hardware: dict[str, Any]) -> str:
    parts = [str(hardware.get("processor") or "processor not known")]
    if hardware.get("cores"):
        parts.append(f"{hardware['cores']} cores")
    if hardware.get("memory_gib"):
        parts.append(f"{hardware['memory_gib']} GiB memory")
    return ", ".join([*parts, *([str(hardware["gpu"])] if hardware.get("gpu") else [])])


def _run(record: dict[str, Any]) -> dict[str, Any]:
    parameters = record.get("parameters") or {}
    seed = record.get("seed", parameters.get("seed", ""))
    device = record.get("device", parameters.get("device", ""))
    seconds = float(record.get("seconds") or "nan")
    peak = record.get("peak_memory_mb", "")
    return {"path": record["path"], "seconds": seconds, "peak_memory_mb": peak, "device": device, "seed": seed}
