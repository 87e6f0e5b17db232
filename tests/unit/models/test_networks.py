"""Layout, names and sizes of the networks."""

from __future__ import annotations

import pytest
import torch

from anatcl.models import ENCODERS, build_encoder, build_model


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_sizes():
    model = build_model("resnet18")
    assert count(model.encoder) == 33_160_000
    assert count(model) == 33_488_320


def test_published_names():
    names = set(build_model("resnet18").state_dict())
    for name in (
        "encoder.conv1.weight",
        "encoder.bn1.running_mean",
        "encoder.layer1.0.conv1.weight",
        "encoder.layer2.0.downsample.0.weight",
        "encoder.layer2.0.downsample.1.num_batches_tracked",
        "encoder.layer4.1.bn2.bias",
        "head.0.weight",
        "head.2.bias",
    ):
        assert name in names


def test_shapes_of_first_layers():
    state = build_model("resnet18").state_dict()
    assert state["encoder.conv1.weight"].shape == (64, 1, 7, 7, 7)
    assert state["head.0.weight"].shape == (512, 512)
    assert state["head.2.weight"].shape == (128, 512)


@pytest.mark.parametrize("name, features", [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_embedding_sizes(name, features):
    assert build_encoder(name).out_features == features


@pytest.mark.parametrize("shape", [(14, 16, 12), (33, 7, 20)])
def test_tiny_forward(shape):
    model = build_model("resnet-tiny").eval()
    x = torch.randn(3, 1, *shape)
    assert model.embed(x).shape == (3, model.encoder.out_features)
    z = model(x)
    assert z.shape == (3, 128)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))


def test_projection_is_float32_under_autocast():
    model = build_model("resnet-tiny").eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 1, 14, 16, 12)).dtype == torch.float32


def test_regression_head_gives_one_number_a_subject():
    assert build_model("resnet-tiny", "regression").eval()(torch.randn(3, 1, 14, 16, 12)).shape == (3,)


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="resnet18"):
        build_encoder("resnet19")
    with pytest.raises(ValueError, match="projection"):
        build_model("resnet-tiny", "mlp")


def test_densenet_without_monai_says_what_to_do():
    assert "densenet121" in ENCODERS
    try:
        import monai  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install monai"):
            build_encoder("densenet121")
    else:
        encoder = build_encoder("densenet121")
        assert encoder.out_features == 1024
        assert encoder.eval()(torch.randn(1, 1, 33, 34, 35)).shape == (1, 1024)
