"""Gradients in bfloat16 on a CPU are those of float32, to its precision, whatever lies in memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from anatcl.models import build_encoder
from anatcl.models.conv import GuardedConv3d, guard_convolutions
from anatcl.models.stem import SpaceToDepthConv3d

# glibc fills what it hands out with garbage, so that memory which is read without being written shows.
DIRTY = {**os.environ, "MALLOC_PERTURB_": "1", "OMP_NUM_THREADS": "1"}
SCRIPT = """if True:
    import sys, torch
    from torch import nn
    from anatcl.models.conv import guard_convolutions
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    worst = {}
    cases = [(3, stride, d) for d in (1, 2, 3, 4, 5, 8) for stride in (1, 2)] + [(7, 1, d) for d in (2, 4, 6, 7, 8)]
    for size, stride, depth in cases:
        x = torch.randn(3, 32, depth, 3, 5, generator=random)
        network = nn.Sequential(nn.Conv3d(32, 32, size, stride=stride, padding=size // 2, bias=False))
        if sys.argv[1] == "guarded":
            guard_convolutions(network)
        out = network(x)
        above = torch.randn(out.shape, generator=random)
        exact = torch.autograd.grad(out, network[0].weight, above)[0]
        for trial in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                out = network(x)
            found = torch.autograd.grad(out, network[0].weight, above.to(out.dtype))[0]
            error = (found.float() - exact).abs().max() / exact.abs().max()
            worst[size, depth, stride] = max(worst.get((size, depth, stride), 0), float(error.nan_to_num(99, 99, 99)))
    print(worst)"""


def worst_errors(kind: str) -> dict[tuple[int, int, int], float]:
    """Largest relative error by kernel, depth and stride."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, kind], env=DIRTY, capture_output=True, text=True, check=True)
    return eval(done.stdout)


def test_weight_gradients_of_every_small_depth():
    """Relative errors of bf16 stay near 2^-8; without the guard depths below the kernel's are wrong there."""
    found = worst_errors("guarded")
    assert max(found.values()) < 0.02, found


def test_layers_are_guarded_and_keep_their_names():
    encoder = build_encoder("resnet-tiny")
    kinds = [type(m) for m in encoder.modules() if isinstance(m, nn.Conv3d)]
    assert kinds[0] is SpaceToDepthConv3d and set(kinds[1:]) == {GuardedConv3d}
    plain = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1))
    x = torch.randn(1, 2, 2, 4, 5)
    expected, names = plain(x), set(plain.state_dict())
    guarded = guard_convolutions(plain)
    assert torch.equal(guarded(x), expected) and set(guarded.state_dict()) == names
    with torch.autocast("cpu", torch.bfloat16):
        out = guarded(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=0.02, rtol=0.02)


@pytest.mark.slow
def test_runs_in_bfloat16_are_equal():
    """Two steps of ResNet-18 at 30 x 32 x 30, batch 8 (third stage of depth 2): equal bits in dirty memory."""
    script = """if True:
        import hashlib, torch
        torch.set_num_threads(1)
        from anatcl.losses.y_aware import YAware
        from anatcl.models import build_model
        from anatcl.pretrain.device import keep_memory
        keep_memory()
        for repetition in range(3):
            torch.manual_seed(0)
            model = build_model("resnet18").to(memory_format=torch.channels_last_3d)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
            random = torch.Generator().manual_seed(1)
            x = torch.rand(8, 1, 30, 32, 30, generator=random)
            age = torch.rand(8, generator=random) * 60
            for _ in range(2):
                with torch.autocast("cpu", torch.bfloat16):
                    z = model(x)
                loss = YAware()(z, {"age": age}, 2)["loss"]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            flat = torch.cat([p.detach().flatten() for p in model.parameters()])
            assert torch.isfinite(flat).all()
            print(hashlib.sha256(flat.numpy().tobytes()).hexdigest())"""
    done = subprocess.run([sys.executable, "-c", script], env=DIRTY, capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 1
