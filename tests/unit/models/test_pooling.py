"""The last pool: torch's adaptive average, with a deterministic backward pass, as an option of every encoder."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anatcl.models import build_encoder, build_model
from anatcl.models.pool import MeanPool3d


@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 3, 7), (1, 2, 1), (3, 1, 6)])
def test_values_and_gradients_are_those_of_torch(cells, shape):
    x = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain, ours = F.adaptive_avg_pool3d(x, cells).flatten(1), MeanPool3d(cells)(x)
    torch.testing.assert_close(ours, plain)
    weight = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one, two = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (ours, plain))
    torch.testing.assert_close(one, two)


def test_a_grid_keeps_where_something_was():
    x = torch.zeros(2, 1, 4, 4, 4)
    x[0, 0, 0, 0, 0] = x[1, 0, 3, 3, 3] = 1
    assert torch.equal(*MeanPool3d(1)(x))
    there, other = MeanPool3d(2)(x)
    assert there.nonzero().tolist() == [[0]] and other.nonzero().tolist() == [[7]]


@pytest.mark.parametrize("name, features", [("resnet-tiny", 64), ("resnet18", 512)])
def test_encoders_with_a_grid(name, features):
    plain, grid = build_encoder(name), build_encoder(name, "grid")
    assert plain.out_features == features and grid.out_features == 8 * features
    assert plain.state_dict().keys() == grid.state_dict().keys()
    model = build_model("resnet-tiny", pooling="grid").eval()
    assert model(torch.randn(2, 1, 14, 16, 12)).shape == (2, 128) and model.head[0].weight.shape == (512, 512)


def test_the_seeded_start_of_a_grid_encoder_is_that_of_the_plain_one():
    states = []
    for pooling in ("average", "grid"):
        torch.manual_seed(0)
        states.append(build_encoder("resnet-tiny", pooling).state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="average, grid"):
        build_encoder("resnet-tiny", "max")
