"""Known encoders: random weights of the true names and shapes are loaded and give a vector per volume."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.named import call_named
from anatcl.models.others import SFCN, DenseNet121
from anatcl.pretrain.outside import open_encoder
from anatcl.spec.encoders import KNOWN, Encoder

# Names and shapes that the other projects' files have, from their code; prefix of the file; length of the embedding.
TRUE = {
    "brainiac": ({"patch_embedding.position_embeddings": (1, 216, 768), "blocks.11.mlp.linear1.weight": (3072, 768),
                  "norm.weight": (768,)}, "backbone.", 768),
    "neuro-simclr-resnet18": ({"conv1.weight": (64, 1, 7, 7, 7), "layer2.0.downsample.0.bias": (128,),
                               "layer4.1.bn2.running_var": (512,)}, "encoder.", 512),
    "nidl-densenet121": ({"features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3, 3),
                          "embedding.weight": (512, 1024)}, "", 512),
    "sfcn": ({"feature_extractor.conv_0.0.weight": (32, 1, 3, 3, 3), "feature_extractor.conv_0.1.running_mean": (32,),
              "feature_extractor.conv_5.0.weight": (64, 256, 1, 1, 1)}, "module.", 64),
    "y-aware-densenet121": ({"features.transition3.conv.weight": (512, 1024, 1, 1, 1), "features.norm0.bias": (64,),
                             "features.denseblock1.denselayer1.norm1.weight": (64,)}, "module.", 1024),
}  # fmt: skip


def test_all_of_them_are_tested():
    assert {path.stem for path in KNOWN.glob("*.yaml")} == set(TRUE)


@pytest.mark.parametrize("name", sorted(TRUE))
def test_weights_of_the_true_names_and_shapes_are_loaded(name, tmp_path):
    names, prefix, length = TRUE[name]
    probe = Encoder.parse({"like": name, "weights": "w.pth"})
    if probe.architecture.startswith("monai"):
        pytest.importorskip("monai", reason="MONAI is not installed (extra: encoders)")
        pytest.importorskip("einops", reason="einops is not installed (extra: encoders)")
    torch.manual_seed(0)
    net: nn.Module = call_named(probe.architecture, probe.arguments)
    state = net.state_dict()
    assert {n: tuple(state[n].shape) for n in names} == names
    kept = {f"{prefix}{n}": v for n, v in state.items() if "norm_cross_attn" not in n}
    torch.save({"state_dict": kept | {f"{prefix}head.weight": torch.ones(2)}}, tmp_path / "w.pth")
    model, about = open_encoder(Encoder.parse({"like": name, "weights": str(tmp_path / "w.pth")}))
    assert about["pretrained_on"] and about["input"]["shape"] == list(probe.input.shape)
    shape = probe.input.shape if name == "brainiac" else (33, 36, 34)
    with torch.inference_mode():
        found = model.embed(torch.rand(1, 1, *shape))
    assert found.shape == (1, length) and found.isfinite().all()
    for own, loaded in zip(net.state_dict().values(), model.encoder.state_dict().values(), strict=True):
        assert torch.equal(own, loaded)


def test_an_unknown_word_and_what_counts_first():
    with pytest.raises(InputError, match="'brainiac'"):
        Encoder.parse({"like": "brainac", "weights": "w.pth"})
    own = Encoder.parse({"like": "sfcn", "weights": "w.pth", "pretrained_on": "unknown"})
    assert own.pretrained_on == ("unknown",) and own.architecture.endswith(":SFCN")
    assert SFCN().out_features == 64 and DenseNet121(embedding=7, blocks=(1, 1)).out_features == 7
