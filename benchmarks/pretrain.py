"""Pretraining steps and embedding of this project beside plain loops in the published style, in one run.

The same network (3-D ResNet-18), the same batch of subjects and the same losses (AnatCL-local and age, two views
without augmentation):

- rival: float32 (float16 autocast on a GPU), both identical views embedded, contiguous memory, a DataLoader that
  unmasks and crops each item on the CPU once per view, weights computed region by region;
- ours: `anatcl.pretrain` as it is: packed float16 volumes read ahead, one embedding for identical views, bfloat16 where
  the processor has it, channels-last memory.

Embedding (``embedding_ratio``) is compared in the same way: `anatcl.pretrain.bundle.embed_arrays` as every command
calls it beside the rival's data set and network in evaluation mode, eight volumes at a time.

Each runs in processes of its own, in turns, so that peak memory is its own and other load on the machine meets both.
The fastest step of each counts on a CPU (other programs can only slow a step down), the mean on a GPU;
``cpu_seconds_ratio`` compares the processor time of the two loops, the rival's loading processes not counted. Where
other programs share the cores take it with ``--threads 1``: threads that wait for each other use processor time, too.
Run from the root of the repository::

    python -m benchmarks.pretrain [--quick] [--batch 4] [--shape 121 128 121] [--out benchmarks/results/pretrain.json]

The last line is one JSON object: ``ratio`` (rival seconds / our seconds), ``samples_per_s``, ``peak_mb``, ``device``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECIPE_SCANS, RECIPE_EPOCHS = 3984, 300
EMBEDDED = 8  # volumes of one pass
PADDED_Y = 17  # the published crop takes 128 of 145 voxels


def peak_mb(cuda: bool) -> float:
    """Peak memory: of the GPU's tensors, or resident in this process."""
    if cuda:
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cohort(folder: Path, shape: tuple[int, ...], people: int) -> None:
    """Write a packed cohort, and the same volumes as masked float32 rows for the rival."""
    import pandas as pd

    from anatcl.base.files import write_tsv
    from anatcl.pretrain.arrays import array_meta, write_arrays

    random = np.random.default_rng(0)
    full = (shape[0], shape[1] + PADDED_Y, shape[2])
    mask = np.linalg.norm(np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in full], indexing="ij")), axis=0) < 0.8
    rows = random.uniform(0, 1, (people, int(mask.sum()))).astype(np.float32)
    np.save(folder / "mask.npy", mask)
    np.save(folder / "rows.npy", rows)
    names = [f"sub-{i:03d}" for i in range(people)]
    table = pd.DataFrame({"scan": names, "participant_id": names, "age": random.uniform(20, 80, people)})
    volumes = (unmask(row, mask) for row in rows)
    meta = array_meta(shape, np.diag([1.5, 1.5, 1.5, 1.0]), "vbm", [[0, n] for n in shape])
    write_arrays(folder / "arrays", volumes, table, meta)
    regions = [f"{side}_{k:02d}" for side in ("lh", "rh") for k in range(34)]
    measures = {
        f"{kind}_{r}": random.uniform(1, 3, people) for r in regions for kind in ("thickness", "volume", "area")
    }
    write_tsv(folder / "measures.tsv", pd.DataFrame({"scan": names, "participant_id": names, **measures}))
    write_tsv(folder / "folds.tsv", pd.DataFrame({"participant_id": names, "fold": np.arange(people) % 2}))


def unmask(row: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What nilearn's unmask and the crop of the public code do for one item."""
    volume = np.zeros(mask.shape, dtype=np.float64)
    volume[mask] = row
    start = PADDED_Y // 2
    return volume[:, start : mask.shape[1] - (PADDED_Y - start), :]


def ours(args: argparse.Namespace) -> dict[str, Any]:
    """Time the steps of our own loop."""
    import torch

    from anatcl.pretrain import train as module
    from anatcl.pretrain.device import prepare_process
    from anatcl.pretrain.session import Run
    from anatcl.spec.training import Options

    prepare_process()
    times: list[float] = []
    cpu: list[float] = []
    update = Run.update

    def timed(run: Run) -> None:
        update(run)
        if run.place.device.type == "cuda" and run.step in (args.warmup, args.steps):
            torch.cuda.synchronize()
        times.append(time.perf_counter())
        cpu.append(time.process_time())

    Run.update = timed  # type: ignore[method-assign]
    inputs = module.Inputs(
        args.folder / "arrays", args.folder / "folds.tsv", -1, "anatcl-local", args.folder / "out",
        args.folder / "measures.tsv",
    )  # fmt: skip
    options = Options(batch_size=args.batch, epochs=10**6, max_steps=args.steps, seed=args.turn)
    save = Run.save
    Run.save = lambda run: None  # type: ignore[method-assign]  # an epoch here is two steps; a real one saves once
    cuda = args.device != "cpu" and torch.cuda.is_available()
    module.train(inputs, options, args.device, threads=args.threads, deterministic=not cuda)
    Run.save = save  # type: ignore[method-assign]
    record = json.loads((args.folder / "out/run.json").read_text())
    share = record["data_wait_seconds"] / (times[-1] - times[0])
    return {"times": times, "cpu": cpu, "device": record["device"], "data_wait_share": share}


def rival(args: argparse.Namespace) -> dict[str, Any]:
    """Time a plain loop in the published style."""
    import torch

    from anatcl.models import build_model
    from benchmarks.gpu_common import with_plain_layers

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    torch.manual_seed(0)
    data = Items(args.folder)
    loader = torch.utils.data.DataLoader(
        data, args.batch, shuffle=True, num_workers=min(8, os.cpu_count() or 1), persistent_workers=True
    )
    model = with_plain_layers(build_model("resnet18")).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-5)
    scaler = torch.amp.GradScaler("cuda", enabled=cuda)
    times: list[float] = []
    cpu: list[float] = []
    while len(times) < args.steps:
        for views, age, measures in loader:
            x = torch.cat(views).to(device)
            with torch.autocast("cuda", enabled=cuda):
                loss = published_loss(model(x), age.to(device), measures.to(device))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            loss.item()  # the published loop reads the loss in each step
            times.append(time.perf_counter())
            cpu.append(time.process_time())
            if len(times) >= args.steps:
                break
    return {"times": times, "cpu": cpu, "device": str(device)}


def embedding(args: argparse.Namespace) -> dict[str, Any]:
    """Time passes of our own embedding over the cohort."""
    import torch

    from anatcl.models import build_model
    from anatcl.pretrain.arrays import open_arrays
    from anatcl.pretrain.bundle import embed_arrays
    from anatcl.pretrain.device import applied, for_embedding, prepare_process

    prepare_process()
    torch.manual_seed(0)
    packed, model = open_arrays(args.folder / "arrays"), build_model("resnet18").eval()
    rows = np.arange(EMBEDDED) % len(packed.rows)
    with applied(for_embedding("resnet18", args.device, threads=args.threads)) as place:
        return timed_passes(lambda: embed_arrays(model, packed, rows, place), args.steps) | {"device": str(place)}


def rival_embedding(args: argparse.Namespace) -> dict[str, Any]:
    """Time passes of a plain embedding loop over the cohort."""
    import torch

    from anatcl.models import build_model
    from benchmarks.gpu_common import with_plain_layers

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    data = Items(args.folder, views=1)
    chosen = torch.utils.data.Subset(data, [i % len(data) for i in range(EMBEDDED)])  # type: ignore[arg-type]
    loader = torch.utils.data.DataLoader(chosen, 8, num_workers=min(8, os.cpu_count() or 1), persistent_workers=True)
    encoder: Any = with_plain_layers(build_model("resnet18")).encoder.to(device).eval()

    @torch.no_grad()
    def one_pass() -> torch.Tensor:
        found = []
        for (x,), *_ in loader:
            with torch.autocast("cuda", enabled=device.type == "cuda"):
                found.append(encoder(x.to(device)).float().cpu())
        return torch.cat(found)

    return timed_passes(one_pass, args.steps) | {"device": str(device)}


def timed_passes(one_pass: Callable[[], Any], times: int) -> dict[str, Any]:
    """Clock and processor time after each of so many passes."""
    found: dict[str, Any] = {"times": [], "cpu": []}
    for _ in range(times):
        one_pass()
        found["times"].append(time.perf_counter())
        found["cpu"].append(time.process_time())
    return found


class Items:
    """Map-style data set: unmask, crop and convert one item per view."""

    def __init__(self, folder: Path, views: int = 2) -> None:
        import pandas as pd

        self.views = views
        self.mask = np.load(folder / "mask.npy")
        self.rows = np.load(folder / "rows.npy", mmap_mode="r")
        self.age = pd.read_csv(folder / "arrays/rows.tsv", sep="\t")["age"].to_numpy(np.float32)
        table = pd.read_csv(folder / "measures.tsv", sep="\t").iloc[:, 2:]
        self.measures = table.to_numpy(np.float32).reshape(len(table), -1, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        import torch

        views = [torch.from_numpy(unmask(self.rows[index], self.mask).copy()).float()[None] for _ in range(self.views)]
        return views, self.age[index], self.measures[index]


def published_loss(z: Any, age: Any, measures: Any) -> Any:
    """AnatCL-local and age term, as one would write them down (see the loops in the tests)."""
    import torch

    low, high = measures.amin(1, keepdim=True), measures.amax(1, keepdim=True)
    g = (measures - low) / (high - low)
    alpha = torch.nn.functional.cosine_similarity(g[:, None], g[None], dim=-1).mean(-1)
    age_weights = torch.exp(-((age[:, None] - age[None]) ** 2) / (2 * 2.0**2))
    return kernel_contrastive(z, alpha) + kernel_contrastive(z, age_weights)


def kernel_contrastive(z: Any, weights: Any, temperature: float = 0.1) -> Any:
    """Soft-target InfoNCE on N x N matrices."""
    import torch

    weights = weights.repeat(2, 2)
    other = 1 - torch.eye(len(z), device=z.device)
    logits = z @ z.T / temperature
    logits = logits - logits.amax(1, keepdim=True).detach()
    log_prob = logits - torch.log((torch.exp(logits) * other).sum(1, keepdim=True))
    weights = weights * other
    return -((weights * log_prob).sum(1) / weights.sum(1)).mean()


def loss_cost(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of AnatCL-local, forward and backward, for one batch of B gathered subjects."""
    import torch

    from anatcl.losses.anatcl_local import AnatCLLocal

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    loss, random = AnatCLLocal(), torch.Generator().manual_seed(0)
    raw = {"measures": torch.rand(args.batch, 68, 3, generator=random), "age": torch.rand(args.batch) * 60 + 20}
    targets = {k: v.to(device) for k, v in loss.fit(raw).items()}
    z = torch.nn.functional.normalize(torch.randn(args.batch, 128, generator=random), dim=1)
    z = z.to(device).requires_grad_()
    small = z[:16].detach().requires_grad_()  # a first call, so that loading kernels is not counted
    loss(small, {k: v[:16] for k, v in targets.items()}, copies=2)["loss"].backward()
    before = torch.cuda.memory_allocated() / 2**20 if cuda else peak_mb(False)
    seconds, cpu = [], []
    for _ in range(3):
        start, spent = time.perf_counter(), time.process_time()
        loss(z, targets, copies=2)["loss"].backward()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - spent)
    extra = peak_mb(cuda) - before
    return {"batch": args.batch, "seconds": min(seconds), "cpu_seconds": min(cpu), "extra_mb": round(extra, 1)}


def matrix_rate(device: str) -> float:
    """Measured rate of large bf16 matrix products, in FLOP/s."""
    import torch

    n = 8192 if device == "cuda" else 2048
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    if device == "cuda":
        torch.cuda.synchronize()
    start, times = time.perf_counter(), 50 if device == "cuda" else 2
    for _ in range(times):
        a @ a
    if device == "cuda":
        torch.cuda.synchronize()
    return times * 2 * n**3 / (time.perf_counter() - start)


def child(variant: str, args: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """Run one variant in a process of its own."""
    values = {**vars(args), **changes}
    command = [sys.executable, "-m", "benchmarks.pretrain", "--variant", variant]
    for name in ("batch", "steps", "warmup", "threads", "device", "folder", "turn"):
        command += [f"--{name}", str(values[name])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)} if args.threads else None
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{variant} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(args: argparse.Namespace, variants: tuple[str, str], what: str) -> dict[str, list[dict[str, Any]]]:
    """Results of the turns of two variants, one after the other in each turn."""
    results: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for turn in range(args.turns):
        for variant, found in results.items():
            found.append(child(variant, args, turn=turn))
            print(f"{variant}: {found[-1]['step_s']:.3f} s a {what}, {found[-1]['peak_mb']:.0f} MB", flush=True)
    return results


def rates_of_embedding(passes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the passes of both variants say: rates, ratio by the clock and by processor time."""
    (ours, rival), (cpu, rival_cpu) = (
        [min(r[k] for r in found) for found in passes.values()] for k in ("step_s", "cpu_s")
    )
    return {
        "embedding_ratio": round(rival / ours, 3),
        "embedding_cpu_seconds_ratio": round(rival_cpu / cpu, 3),
        "embedded_per_s": round(EMBEDDED / ours, 3),
        "rival_embedded_per_s": round(EMBEDDED / rival, 3),
    }


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Run both variants in turns and summarise them."""
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        cohort(args.folder, tuple(args.shape), 2 * args.batch)
        results = in_turns(args, ("ours", "rival"), "step")
        passes = in_turns(args, ("embedding", "rival_embedding"), "pass")
    cpu = {v: min(r["cpu_s"] for r in found) for v, found in results.items()}
    best = {v: min(r["step_s"] for r in found) for v, found in results.items()}
    first = results["ours"][0]
    return {
        "ratio": round(best["rival"] / best["ours"], 3),
        "samples_per_s": round(args.batch / best["ours"], 4),
        "peak_mb": round(max(r["peak_mb"] for r in results["ours"]), 1),
        "device": first["device"],
        "rival_samples_per_s": round(args.batch / best["rival"], 4),
        "rival_peak_mb": round(max(r["peak_mb"] for r in results["rival"]), 1),
        "step_s": round(best["ours"], 4),
        "rival_step_s": round(best["rival"], 4),
        "cpu_s": round(cpu["ours"], 3),
        "cpu_seconds_ratio": round(cpu["rival"] / cpu["ours"], 3),
        "data_wait_share": round(max(r["data_wait_share"] for r in results["ours"]), 4),
        **rates_of_embedding(passes),
        "threads": args.threads,
        "shape": list(args.shape),
        "batch": args.batch,
    }


def more(args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """Cost of the loss, use of the hardware and time of the published recipe."""
    from benchmarks.gpu_common import flops_per_subject

    losses = [child("loss", args, batch=b) for b in (256, 512, 1024, 2048, 4096)]
    per_sample = 1 / result["samples_per_s"]
    rate = matrix_rate("cpu" if result["device"].startswith("cpu") else "cuda")
    flops = flops_per_subject("resnet18", tuple(args.shape))
    return {
        "loss_cost": losses,
        "loss_4096_share_of_step_at_32": round(losses[-1]["seconds"] / (32 * per_sample), 4),
        "loss_4096_cpu_share_of_step_at_32": round(losses[-1]["cpu_seconds"] / (32 * result["cpu_s"] / args.batch), 4),
        "flops_per_sample": flops,
        "measured_bf16_matrix_flops_per_s": rate,
        "model_flop_utilisation": round(flops * result["samples_per_s"] / rate, 4),
        "published_recipe_hours": round(RECIPE_SCANS * RECIPE_EPOCHS * per_sample / 3600, 1),
    }


VARIANTS = {"ours": ours, "rival": rival, "embedding": embedding, "rival_embedding": rival_embedding}


def run_variant(args: argparse.Namespace) -> None:
    """Body of a child process: one JSON line."""
    if args.variant == "loss":
        print(json.dumps(loss_cost(args)))
        return
    found = VARIANTS[args.variant](args)
    times, cpu = (np.diff(found.pop(name))[args.warmup - 1 :] for name in ("times", "cpu"))
    found["cpu_s"] = float(cpu.min())
    cuda = "cpu" not in found["device"]
    found["step_s"] = float(times.mean() if cuda else times.min())
    found["peak_mb"] = peak_mb(cuda)
    print(json.dumps(found))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller volume and fewer steps, no cost of the loss")
    parser.add_argument("--batch", type=int, default=0, help="subjects in a batch (4; 32 on a GPU)")
    parser.add_argument("--shape", type=int, nargs=3, default=(121, 128, 121), help="volume")
    parser.add_argument("--steps", type=int, default=0, help="steps per turn, the first one or more for warming up")
    parser.add_argument("--turns", type=int, default=2, help="turns of the two variants")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (0: torch's choice)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="file for the full result")
    parser.add_argument("--variant", choices=(*VARIANTS, "loss"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path(), help=argparse.SUPPRESS)
    parser.add_argument("--warmup", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        return run_variant(args)
    import torch

    cuda = args.device != "cpu" and torch.cuda.is_available()
    args.batch = args.batch or (32 if cuda else 4)
    args.steps = args.steps or (60 if cuda else 3 if args.quick else 4)
    args.warmup = 20 if cuda else 1
    args.threads = 0 if cuda else args.threads
    if args.quick and not cuda:
        args.shape, args.turns = (91, 96, 91), 1
    result = compare(args)
    if not args.quick:
        result |= more(args, result)
    if args.out:
        from anatcl.base.files import write_json
        from anatcl.base.provenance import hardware, versions

        write_json(args.out, {**result, "hardware": hardware(), "versions": versions()})
    keys = (
        ("ratio", "samples_per_s", "peak_mb", "device", "embedding_ratio", "cpu_seconds_ratio")
        if args.quick
        else tuple(result)
    )
    print(json.dumps({k: result[k] for k in keys}))


if __name__ == "__main__":
    main()
