"""One run on one GPU: are the numbers right, are runs equal, how fast is it, and what takes the time.

    python benchmarks/gpu.py --minutes 8 --out <folder> [--only steps loop]

Every part is timed and guarded: one that fails is reported and the next goes on; one for which too little time is left
is skipped with a sentence. ``<folder>/gpu.json`` is written after each part, so that a run that is cut off leaves what
it knows. MFU is the share of the card's dense bfloat16 peak that the plain network's operations make up. torch, numpy,
pandas, scipy, scikit-learn, safetensors, PyYAML and tqdm are enough. ``--device cpu --tiny`` tries the script itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from anatcl.base.files import write_json  # noqa: E402
from anatcl.base.provenance import hardware, versions  # noqa: E402
from benchmarks import gpu_layers, gpu_loop, gpu_numbers, gpu_speed  # noqa: E402
from benchmarks.gpu_common import PEAK, Bench, flops_per_subject  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a run.

    Attributes
    ----------
    function : callable
        Returns what goes into the JSON.
    need : float
        Seconds under which it is not begun.
    """

    function: Callable[[Bench], dict[str, Any]]
    need: float


# In the order of their value.
PARTS: dict[str, Part] = {
    "losses": Part(gpu_numbers.losses, 20),
    "layers": Part(gpu_layers.layers, 40),
    "compiled": Part(gpu_speed.compiled, 60),
    "loop": Part(gpu_loop.loop, 70),
    "resume": Part(gpu_loop.resume, 50),
    "embedding": Part(gpu_loop.embedding, 25),
    "processes": Part(gpu_loop.processes, 70),
    "steps": Part(gpu_speed.steps, 40),
    "profile": Part(gpu_speed.profile, 20),
    "network": Part(gpu_numbers.network, 25),
    "thickness": Part(gpu_numbers.thickness, 25),
}


def about(bench: Bench, command: str) -> dict[str, Any]:
    """What ran where, and how operations were counted."""
    found = {"command": command, "hardware": hardware(), "versions": versions(("torch", "triton", "numpy", "pandas"))}
    found["flops_per_subject"] = flops_per_subject(bench.encoder, bench.shape)
    found["flops_are"] = "forward and backward of the plain network, by torch.utils.flop_counter"
    if bench.cuda:
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "card": card()}
        found["peak_bf16_flops"] = next((v for k, v in PEAK.items() if k in torch.cuda.get_device_name()), None)
    return found


def card() -> str:
    """Name, driver, memory, clock and power of the GPU, by the driver's own program."""
    wanted = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit,temperature.gpu"
    try:
        command = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi says nothing ({error})"


def run_part(bench: Bench, name: str, part: Part) -> Any:
    """Run one part and return what it found, how it failed, or why it was skipped."""
    if bench.left() < part.need:
        return f"skipped: needs about {part.need:.0f} s, {max(bench.left(), 0):.0f} s are left"
    start = time.perf_counter()
    try:
        found = part.function(bench)
    except Exception:  # the other parts must run
        found = {"failed": traceback.format_exc()[-2500:]}
    if bench.cuda:
        torch.cuda.empty_cache()
    return found | {"wall_s": round(time.perf_counter() - start, 1)}


def run(bench: Bench, only: list[str], out: Path, command: str) -> dict[str, Any]:
    """Run the parts, writing ``gpu.json`` after each."""
    report: dict[str, Any] = {"about": about(bench, command)}
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        report[name] = run_part(bench, name, part)
        report["wall_s"] = round(time.perf_counter() - bench.start, 1)
        print(name, json.dumps(report[name], default=str), flush=True)
        write_json(out / "gpu.json", report)
    return report


def has_failed(found: Any) -> bool:
    """Whether something in a part's results failed."""
    if isinstance(found, dict):
        return "failed" in found or any(has_failed(v) for v in found.values())
    return isinstance(found, str) and found.startswith("failed: ")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.json")
    parser.add_argument("--minutes", type=float, default=8, help="wall time of the whole run")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small volumes and network: a trial of the script")
    parser.add_argument("--only", nargs="+", default=[], choices=tuple(PARTS), metavar="PART", help=", ".join(PARTS))
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; --device cpu --tiny tries the script without one")
    return args


def main() -> None:
    """Run all parts; the exit status says whether one failed."""
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="anatcl-gpu-") as room:
        bench = Bench(args.device, args.tiny, args.minutes * 60, Path(room))
        report = run(bench, args.only, args.out, command)
    failed = [name for name, found in report.items() if has_failed(found)]
    print(f"{report['wall_s']} s" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
