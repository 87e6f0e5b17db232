"""Several processes on one batch: ranks, and gathered embeddings."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from anatcl.base.errors import InputError
from anatcl.base.words import plural
from anatcl.models.norm import synchronise_batchnorm


@dataclass(frozen=True)
class World:
    """Place of this process among those that ``torchrun`` started (one, when it did not)."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, order: np.ndarray) -> np.ndarray:
        """Return this rank's columns of the epoch's order (batches, size)."""
        if order.shape[1] % self.size:
            raise InputError(
                f"a batch of {plural(order.shape[1], 'subject')} cannot be shared by {self.size} processes.",
                remedy="Choose a batch size that is a multiple of the number of processes.",
            )
        per_rank = order.shape[1] // self.size
        return order[:, self.rank * per_rank : (self.rank + 1) * per_rank]

    def wrap(self, model: nn.Module) -> nn.Module:
        """Synchronise batch statistics and gradients over the ranks."""
        if self.size == 1:
            return model
        model = synchronise_batchnorm(model)
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    def gather(self, z: Tensor, views: int) -> Tensor:
        """Return the rows of all ranks, view by view: (views * b, ...) becomes (views * B, ...), with gradient."""
        if self.size == 1:
            return z
        stacked = z.reshape(views, -1, *z.shape[1:])
        return _Gather.apply(stacked).reshape(-1, *z.shape[1:])

    def agreed(self, flag: int) -> int:
        """Return the largest `flag` of all ranks (waits for them)."""
        if self.size == 1:
            return flag
        tensor = torch.tensor(flag, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def barrier(self) -> None:
        """Wait for the other ranks."""
        if self.size > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    """Concatenate (V, b, ...) of all ranks along the second axis.

    Each rank computes the loss of the whole batch; the gradients of all ranks are summed here, and
    DistributedDataParallel divides by their number: what remains is the gradient of one loss on the whole batch.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        ctx.size = local.shape[1]  # type: ignore[attr-defined]
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.size  # type: ignore[attr-defined]
        return total[:, start : start + ctx.size]  # type: ignore[attr-defined]


def relaunch(processes: int, nodes: int = 1) -> None:
    """Replace this process by ``torchrun`` with the same command line, unless it is one of torchrun's already.

    Signals of a scheduler reach every process; they get ten minutes to save.
    """
    if (processes < 2 and nodes < 2) or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    meeting = ["--standalone"] if nodes < 2 else rendezvous(nodes)
    launcher = ["-m", "torch.distributed.run", *meeting, f"--nproc-per-node={processes}"]
    launcher += ["--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "--shutdown-timeout=600"]
    os.execv(sys.executable, [sys.executable, *launcher, "-m", "anatcl", *sys.argv[1:]])  # noqa: S606


def rendezvous(nodes: int) -> list[str]:
    """Options of ``torchrun`` by which the nodes of a SLURM job find each other.

    The first node of the job listens (``MASTER_ADDR`` and ``MASTER_PORT`` say otherwise); jobs have ports of their own.
    """
    job = os.environ.get("SLURM_JOB_ID", "0")
    host = os.environ.get("MASTER_ADDR", "")
    if not host:
        listed = os.environ.get("SLURM_JOB_NODELIST", "")
        if not listed:
            remedy = "Start it in a SLURM job, or set MASTER_ADDR and MASTER_PORT."
            raise InputError(f"{nodes} nodes are asked for, but this is not a SLURM job.", remedy=remedy)
        command = ["scontrol", "show", "hostnames", listed]
        host = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    port = os.environ.get("MASTER_PORT", str(20_000 + int(job) % 10_000))
    return [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={host}:{port}", f"--rdzv-id={job}"]


def start(device: str) -> World:
    """Join the process group that ``torchrun`` announces in the environment; a lone process otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        _check_gpus(max(local + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        place = torch.device("cuda", local) if cuda else None
        dist.init_process_group("nccl" if cuda else "gloo", device_id=place)
    return World(dist.get_rank(), size, local)


def _check_gpus(processes: int) -> None:
    """Refuse more processes than this machine has GPUs: NCCL would wait for them without a word."""
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise InputError(
            f"{plural(processes, 'process')} cannot share {plural(gpus, 'GPU')} on this machine.",
            remedy=f"Start at most {gpus} (pretrain: processes), or set device: cpu.",
        )


def stop(world: World) -> None:
    """Leave the process group."""
    if world.size > 1:
        dist.destroy_process_group()
