"""The first layers give the numbers of torch's plain ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anatcl.models import build_encoder
from anatcl.models.pool import DeterministicMaxPool3d, placed_max_pool, sliced_max_pool
from anatcl.models.stem import SpaceToDepthConv3d, space_to_depth_convolution, unfolded_convolution

SHAPES = [(7, 8, 9), (8, 7, 6), (1, 2, 3), (16, 5, 1), (4, 4, 4)]
FORMS = [space_to_depth_convolution, unfolded_convolution]
POOLS = [sliced_max_pool, placed_max_pool]
sides = st.tuples(*[st.integers(1, 11)] * 3)


def stems(channels_in: int = 1, kind: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """The layer and torch's own with the same weights."""
    ours = SpaceToDepthConv3d(channels_in, 5).to(kind)
    plain = nn.Conv3d(channels_in, 5, 7, stride=2, padding=3, bias=False, dtype=kind)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def gradients(function, weights, x, above):
    """Output and gradients by the input and `weights`."""
    x = x.clone().requires_grad_()
    out = function(x)
    return out.detach(), *torch.autograd.grad(out, [x, *weights], above)


@settings(deadline=None, max_examples=30)
@given(sides, st.integers(1, 3), st.booleans(), st.integers(0, 99), st.sampled_from(FORMS))
def test_stem_is_the_plain_convolution(shape, channels_in, last, seed, form):
    """Values, and gradients by input and by the 7x7x7 weight, in float64, in the form of CPUs and in that of CUDA."""
    random = torch.Generator().manual_seed(seed)
    ours, plain = stems(channels_in)
    x = torch.randn(2, channels_in, *shape, generator=random, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    above = torch.randn(plain(x).shape, generator=random, dtype=torch.float64)
    for found, expected in zip(
        gradients(lambda x: form(x, ours.weight), [ours.weight], x, above),
        gradients(plain, plain.parameters(), x, above),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_stem_keeps_the_parameter_of_the_official_network():
    ours, plain = stems(kind=torch.float32)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    assert isinstance(build_encoder("resnet18").conv1, SpaceToDepthConv3d)


def test_stem_gradient_by_finite_differences():
    ours, _ = stems()
    x = torch.randn(1, 1, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))


BF16 = """if True:
    import torch
    from torch import nn
    from anatcl.models.stem import SpaceToDepthConv3d
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    worst = 0
    for depth in range(1, 12):
        for plane in ((3, 5), (8, 8)):
            layer = SpaceToDepthConv3d(1, 32)
            x = torch.randn(3, 1, depth, *plane, generator=random)
            out = layer(x)
            above = torch.randn(out.shape, generator=random).bfloat16().float()
            exact = torch.autograd.grad(out, layer.weight, above)[0]
            for trial in range(2):
                with torch.autocast("cpu", torch.bfloat16):
                    out = layer(x)
                assert out.dtype == torch.bfloat16
                found = torch.autograd.grad(out, layer.weight, above.bfloat16())[0]
                error = (found - exact).abs().max() / exact.abs().max()
                worst = max(worst, float(error.nan_to_num(99, 99, 99)))
    print(worst)"""


def test_stem_gradients_in_bfloat16():
    """Every small depth, in memory that holds garbage (see `test_bfloat16`): errors stay near 2^-8."""
    dirty = {**os.environ, "MALLOC_PERTURB_": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", BF16], env=dirty, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.02


def pools(pool, x: torch.Tensor, seed: int = 0):
    """Values and gradient of a deterministic pool and of torch's."""
    plain = nn.MaxPool3d(3, stride=2, padding=1)
    above = torch.randn(plain(x).shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return gradients(pool, [], x, above), gradients(plain, [], x, above)


@settings(deadline=None, max_examples=40)
@given(sides, st.sampled_from([3, 1000]), st.booleans(), st.integers(0, 99), st.sampled_from(POOLS))
def test_pool_is_the_plain_one(shape, levels, last, seed, pool):
    """Values are equal; the gradient goes to the same voxel, also where many maxima are equal (3 levels)."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(levels, (2, 3, *shape), generator=random).double()
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    (value, gradient), (expected, plain_gradient) = pools(pool, x, seed)
    assert torch.equal(value, expected)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_maxima_send_all_of_the_gradient_to_the_first(shape, pool):
    """A constant volume: each window's gradient arrives once, at its first voxel."""
    x = torch.ones(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    out = pool(x)
    out.sum().backward()
    expected = torch.zeros(shape, dtype=torch.float64)
    for i, j, k in torch.cartesian_prod(*[torch.arange(n) for n in out.shape[2:]]):
        expected[max(2 * i - 1, 0), max(2 * j - 1, 0), max(2 * k - 1, 0)] += 1
    assert torch.equal(x.grad[0, 0], expected)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pool", POOLS)
def test_pool_of_what_is_not_finite(special, pool):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 7, 8, 9, generator=random)
    x[torch.rand(x.shape, generator=random) < 0.2] = special
    torch.testing.assert_close(pool(x), nn.MaxPool3d(3, 2, 1)(x), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("pool", POOLS)
def test_pool_keeps_type_and_layout(kind, pool):
    x = torch.randn(2, 8, 7, 8, 9).to(kind).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    out = sliced_max_pool(x)
    assert out.dtype == kind and out.is_contiguous(memory_format=torch.channels_last_3d)
    out.sum().backward()
    assert x.grad.dtype == kind and x.grad.is_contiguous(memory_format=torch.channels_last_3d)


def test_pool_layer_is_torchs_on_a_cpu():
    x = torch.randn(2, 3, 7, 8, 9)
    assert torch.equal(DeterministicMaxPool3d()(x), nn.MaxPool3d(3, 2, 1)(x))


def test_traced_layers_are_the_published_ones():
    """A traced encoder holds one plain convolution and pool, and computes the same."""
    encoder = build_encoder("resnet-tiny").eval()
    x = torch.randn(2, 1, 25, 28, 23)
    traced = torch.jit.trace(encoder, x)
    torch.testing.assert_close(traced(x), encoder(x), rtol=1e-5, atol=1e-5)


def test_an_encoder_that_only_embeds_pools_in_bfloat16():
    """Autocast would widen the pool's input on a CPU; maxima of bfloat16 numbers are the same numbers."""
    torch.manual_seed(0)
    encoder, x = build_encoder("resnet-tiny").eval(), torch.rand(2, 1, 25, 28, 25)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        first = encoder.relu(encoder.bn1(encoder.conv1(x)))
        pooled, widened = encoder.maxpool(first), nn.MaxPool3d.forward(encoder.maxpool, first)
        found = encoder(x)
        encoder.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        assert torch.equal(found.float(), encoder(x).float())
    assert (pooled.dtype, widened.dtype) == (torch.bfloat16, torch.float32) and torch.equal(pooled.float(), widened)
