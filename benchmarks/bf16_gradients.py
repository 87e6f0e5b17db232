"""Which weight gradients of 3-D convolutions a CPU gets wrong, by kernel, stride and depth.

Every case runs in a process of its own, since some end in a corrupted heap; glibc fills memory with garbage, so that
what is read without being written shows: ``MALLOC_PERTURB_=1 python benchmarks/bf16_gradients.py`` (Linux). The
reference is torch's own loop without oneDNN. A line per wrong case; ``docs/pretraining.md`` says what follows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import warnings

import torch

WRONG = 0.02  # relative; bfloat16 rounds at 2^-8


def gradient(x: torch.Tensor, above: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """Gradient by the weights of a convolution padded to keep its size at stride 1."""
    padding = [weight.shape[-1] // 2] * 3
    ways = ([stride] * 3, padding, [1] * 3, False, [0] * 3, 1, [False, True, False])
    return torch.ops.aten.convolution_backward(above, x, weight, None, *ways)[1]


def error(kernel: int, stride: int, depth: int, plane: tuple[int, int], kind: torch.dtype) -> float:
    """Largest difference over the largest exact value."""
    seeded = torch.Generator().manual_seed(0)
    sides = (depth, *plane)
    out = [(side + 2 * (kernel // 2) - kernel) // stride + 1 for side in sides]
    x, above, weight = (
        torch.randn(shape, generator=seeded).bfloat16().float()
        for shape in ((2, 32, *sides), (2, 32, *out), (32, 32, kernel, kernel, kernel))
    )
    with torch.backends.mkldnn.flags(enabled=False):
        exact = gradient(x, above, weight, stride)
    found = gradient(x.to(kind), above.to(kind), weight.to(kind), stride).float()
    return float((found - exact).abs().max() / exact.abs().max())


def main() -> None:
    """Print the wrong cases."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kinds, planes = (torch.bfloat16, torch.float32), ((3, 5), (8, 8))
    for kind, kernel, stride, depth, plane in itertools.product(kinds, (1, 3, 5, 7), (1, 2), range(1, 10), planes):
        case = f"{str(kind)[6:]} kernel {kernel} stride {stride} depth {depth} plane {plane}"
        child = os.fork()
        if child == 0:
            found = error(kernel, stride, depth, plane, kind)
            if not found < WRONG:
                print(f"{case}: {found:.3g}", flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(f"{case}: the process died", flush=True)


if __name__ == "__main__":
    main()
