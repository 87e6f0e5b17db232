"""The one place that decides device, precision, threads and determinism."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from anatcl.base.errors import InputError

log = logging.getLogger(__name__)
SMALL_ENCODER = "resnet-tiny"  # too small to gain from bf16 on a CPU, or from a compiler
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """Where and how to compute.

    Attributes
    ----------
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
        Type of the convolutions and matrix products; losses and statistics stay in float32 (not TensorFloat-32).
    deterministic : bool
        Same machine, same threads, same result.
    threads : int
        CPU threads; 0 leaves torch's choice.
    """

    device: torch.device
    precision: str
    deterministic: bool
    threads: int = 0

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return the autocast context of a forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler, which does nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return f"{name}, {self.precision}, {'deterministic' if self.deterministic else 'fastest kernels'}"


def resolve(
    device: str = "auto",
    precision: str = "auto",
    deterministic: bool = True,
    threads: int = 0,
    small: bool = False,
    rank: int = 0,
) -> Device:
    """Choose device and precision; nothing of torch's state changes (see `applied`).

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes CUDA where there is one.
    precision : {"auto", "fp32", "bf16", "fp16"}
        ``auto``: on CUDA bf16 where supported, else fp16; on a CPU bf16 where the processor has instructions for it
        (AVX512-BF16, AMX), else fp32. The one kernel that was wrong there is kept out, see `anatcl.models.conv`.
    deterministic : bool
        Same machine, same threads, same result.
    threads : int
        CPU threads; 0 leaves torch's choice.
    small : bool
        The network is too small to gain from bf16 on a CPU.
    rank : int
        Which CUDA device, for several processes on one machine.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device!r} is unknown.", remedy="Choose auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device is cuda, but torch sees no CUDA device.",
            remedy="Set device: auto or cpu, or install a CUDA build of torch on a machine with a GPU.",
        )
    cuda = device != "cpu" and torch.cuda.is_available()
    chosen = torch.device(f"cuda:{rank % torch.cuda.device_count()}") if cuda else torch.device("cpu")
    return Device(chosen, _precision(precision, cuda, small), deterministic, threads)


@contextlib.contextmanager
def applied(place: Device) -> Iterator[Device]:
    """Set torch's threads, determinism and kernels as a device asks for; afterwards all is as the caller had it.

    So are torch's random states: what a training draws is no matter of the caller's.

    Deterministic matrix products on CUDA need ``CUBLAS_WORKSPACE_CONFIG`` in the environment, which `prepare_process`
    sets.
    """
    cuda = place.device.type == "cuda"
    before = _state(cuda)
    if place.threads:
        torch.set_num_threads(place.threads)
    cudnn = torch.backends.cudnn
    torch.use_deterministic_algorithms(place.deterministic, warn_only=True)
    # Nothing here reads memory that it has not written, and filling it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if cuda:
        cudnn.benchmark, cudnn.deterministic = not place.deterministic, place.deterministic
    _exact_float32(cuda)
    gpus = [place.device] if cuda and torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(gpus):
            yield place
    finally:
        _restore(before, cuda)


def _exact_float32(cuda: bool) -> None:
    """Let float32 mean float32: TensorFloat-32 and bfloat16 keep fewer bits than kernels over measures need."""
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for layer in _float32_layers(cuda):
        if layer.fp32_precision in ("tf32", "bf16"):
            layer.fp32_precision = "ieee"


def _float32_layers(cuda: bool) -> list[Any]:
    """Kinds of layers whose float32 may be less, by torch's newer interface (2.9); none before."""
    gpu, cudnn, cpu = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    if not hasattr(gpu.matmul, "fp32_precision"):
        return []
    return [cpu.matmul, cpu.conv, cpu.rnn, *([gpu.matmul, cudnn.conv, cudnn.rnn] if cuda else [])]  # type: ignore[attr-defined]


def _state(cuda: bool) -> tuple[Any, ...]:
    cudnn, fill = torch.backends.cudnn, torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    modes = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    older = [_or_none(get) for get, _ in OLDER] if cuda else []
    newer = [layer.fp32_precision for layer in _float32_layers(cuda)]
    return torch.get_num_threads(), modes, fill, (cudnn.benchmark, cudnn.deterministic), older, newer


# TensorFloat-32 by torch's older interface, in the order in which it is put back: the last one decides for matrices.
OLDER: tuple[tuple[Callable[[], Any], Callable[[Any], None]], ...] = (
    (lambda: torch.backends.cudnn.allow_tf32, lambda value: setattr(torch.backends.cudnn, "allow_tf32", value)),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)


def _or_none(get: Callable[[], Any]) -> Any:
    """A setting; None where torch will not say it, because the caller set it by the newer interface."""
    try:
        return get()
    except RuntimeError:
        return None


def _restore(state: tuple[Any, ...], cuda: bool) -> None:
    threads, (deterministic, warn_only), fill, flags, older, newer = state
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags
    for (_, put), value in zip(OLDER, older, strict=False):
        if value is not None:
            put(value)
    for layer, precision in zip(_float32_layers(cuda), newer, strict=True):
        if layer.fp32_precision != precision:
            layer.fp32_precision = precision


def prepare_process() -> None:
    """Set what holds for a whole process and cannot be taken back; only programs call it, before CUDA starts."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    keep_memory()


def _precision(precision: str, cuda: bool, small: bool) -> str:
    if precision != "auto":
        if precision not in DTYPES:
            raise InputError(f"precision {precision!r} is unknown.", remedy="Choose auto, fp32, bf16 or fp16.")
        if precision == "fp16" and not cuda:
            raise InputError("precision fp16 needs CUDA.", remedy="Use bf16 or fp32 on a CPU.")
        return precision
    if cuda:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if cpu_has_bf16() and not small else "fp32"


def cpu_has_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 in hardware (emulation is slower than float32)."""
    with contextlib.suppress(AttributeError, RuntimeError):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def keep_memory() -> None:
    """Let glibc keep what large tensors free, for this process.

    By default every tensor above 32 MB is mapped again from the kernel and cleared page by page: a fifth of a CPU
    training step (measured at 121 x 128 x 121, batch 2). Elsewhere than on glibc nothing happens.
    """
    trim_threshold, mmap_max = -1, -4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def for_embedding(
    architecture: str, device: str = "auto", precision: str = "auto", threads: int = 0, deterministic: bool = True
) -> Device:
    """Choose where and in which precision an encoder embeds: the one rule for every command.

    The precision is that of training on the same device (`resolve`), so that no command differs from another.
    """
    return resolve(device, precision, deterministic, threads, architecture == SMALL_ENCODER)


def seed_everything(seed: int) -> None:
    """Seed torch on every device; the library uses no global numpy or Python randomness."""
    torch.manual_seed(seed)
