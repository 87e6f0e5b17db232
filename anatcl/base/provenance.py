"""What ran, with which versions, on what machine, for how long."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from anatcl import __version__
from anatcl.base.files import write_json

LIBRARIES = ("numpy", "scipy", "pandas", "nibabel", "nipype", "antspyx", "torch", "scikit-learn", "safetensors")


def versions(names: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Versions of this package, Python and the libraries that are installed."""
    found = {"anatcl": __version__, "python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and memory of this machine; the GPU too when torch is loaded and sees one."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    found: dict[str, Any] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def peak_memory_mb() -> float:
    """Largest resident memory of this process or of any child that ended, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(max(own, children) / 1024, 1)


@contextlib.contextmanager
def recorded(folder: str | Path, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time a block and write ``run.json`` into `folder` when it ends well.

    The block may add keys to the dictionary it is given (metrics, seeds, counts).
    """
    record: dict[str, Any] = {"parameters": parameters}
    start = time.monotonic()
    yield record
    record |= {
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_mb": peak_memory_mb(),
        "versions": versions(),
        "hardware": hardware(),
    }
    write_json(Path(folder) / "run.json", record)
