"""Encoders that somebody else made: every kind of file gives what its network computes."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.evaluate.data.features import load_embeddings
from anatcl.evaluate.steps.embed_given import Maps, embed_given
from anatcl.pretrain.conform import padded, resampled, scaled, to_input, turn
from anatcl.pretrain.outside import open_encoder
from anatcl.spec.encoders import Encoder

nib = pytest.importorskip("nibabel")
SHAPE = (12, 14, 10)
AFFINE = np.array([[-2.0, 0, 0, 11], [0, 2.0, 0, -13], [0, 0, 2.0, -9], [0, 0, 0, 1]])
CLASSES = '''
import numpy as np, torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.conv = nn.Conv3d(2, width, 3, stride=2)
    def forward(self, x):
        return self.conv(x)

class TwoMethods:
    """As brainmarks-smri has them; nothing of anatcl is imported."""
    def __init__(self, scale=1.0):
        self.scale = scale
    def transform(self, sample):
        data = np.asarray(sample["image"].dataobj, dtype=np.float32)
        return {"x": data * (np.asarray(sample["brain_mask"].dataobj) > 0), "mni": sample.get("mni_affine")}
    def forward_embeddings(self, samples, return_dense=False):
        return [{"global_embedding": torch.tensor([s["x"].mean(), s["x"].std()]) * self.scale} for s in samples]
'''


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(CLASSES)
    return path


@pytest.fixture
def maps(tmp_path, rng):
    """A folder of the preprocess stage with four scans, the last without its map."""
    folder, rows = tmp_path / "preprocess", []
    for i in range(5):
        scan = f"sub-{i}/anat/sub-{i}"
        rows.append({"scan": scan, "participant_id": f"sub-{i}"})
        (folder / scan).parent.mkdir(parents=True)
        if i == 4:
            continue
        volume = rng.uniform(0.1, 1, SHAPE).astype(np.float32)
        mask = np.zeros(SHAPE, np.uint8)
        mask[3:9, 3:11, 2:8] = 1
        for name, data in (("space-T_label-GM_desc-modulated_probseg", volume), ("desc-preproc_T1w", 100 * volume),
                           ("desc-brain_mask", mask)):  # fmt: skip
            nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{scan}_{name}.nii.gz")
    return Maps(folder, "T", pd.DataFrame(rows))


def run(values, maps, out, member=0):
    """Embeddings of a configured encoder, as the rule makes them."""
    embed_given(json.dumps(values), member, maps, out / f"seed-{member}" / "embeddings.npz", device="cpu")
    return load_embeddings(out, maps.scans["scan"])


def expected(net, maps, **contract):
    x = [to_input(maps.folder / f"{s}_space-T_label-GM_desc-modulated_probseg.nii.gz", {"map": "vbm", **contract})
         for s in maps.scans["scan"][:4]]  # fmt: skip
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(np.stack(x))[:, None]).flatten(1).numpy()


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv3d(1, 4, 3, stride=2), nn.AdaptiveAvgPool3d(1)

    def forward(self, x):
        return self.pool(torch.relu(self.conv(x))).flatten(1)


GIVEN = {"input": {"map": "vbm", "shape": [10, 12, 12]}, "pretrained_on": ["unknown"]}


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_a_file_that_brings_its_network(tmp_path, maps, kind):
    torch.manual_seed(0)
    net, path = Plain().eval(), tmp_path / {"torchscript": "net.pt", "onnx": "net.onnx"}[kind]
    x = torch.zeros(1, 1, 10, 12, 12)
    if kind == "torchscript":
        torch.jit.save(torch.jit.trace(net, x), str(path))
    else:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: encoders)")
        axes = {"x": {0: "n"}}
        torch.onnx.export(net, (x,), str(path), input_names=["x"], dynamic_axes=axes, dynamo=False)
    found = run({**GIVEN, "weights": str(path)}, maps, tmp_path / "out")
    assert found.present.tolist() == [True] * 4 + [False]
    np.testing.assert_allclose(found.matrices[-1][:4], expected(net, maps, shape=(10, 12, 12)), rtol=0.02, atol=1e-3)
    about = read_json(tmp_path / "out" / "seed-0" / "model.json")
    assert about["pretrained_on"] == ["unknown"] and about["input"]["shape"] == [10, 12, 12]
    assert len(about["source"]["files"][path.name]) == 64
    left_out = read_tsv(tmp_path / "out" / "seed-0" / "excluded.tsv")
    assert left_out["participant_id"].tolist() == ["sub-4"] and left_out["remedy"].notna().all()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_state_dict_with_a_class_of_ones_own(tmp_path, maps, classes, suffix):
    given = GIVEN | {"architecture": f"{classes}:Net", "arguments": {"width": 5}, "pooling": "mean"}
    given |= {"input": {"map": "vbm", "shape": [10, 12, 12], "channels": 2}}
    source = nn.Conv3d(2, 5, 3, stride=2)
    state = {f"backbone.conv.{k}": v.contiguous() for k, v in source.state_dict().items()} | {"head.w": torch.ones(2)}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    found = run({**given, "weights": str(path)}, maps, tmp_path / "out").matrices[-1][:4]
    want = expected(lambda_module(source), maps, shape=(10, 12, 12))
    np.testing.assert_allclose(found, want, rtol=0.03, atol=5e-3)
    with pytest.raises(InputError, match=r"another shape.*architecture"):
        open_encoder(Encoder.parse({**given, "weights": str(path), "arguments": {"width": 6}}))


def lambda_module(conv):
    class Mean(nn.Module):
        def forward(self, x):
            return conv(x.expand(-1, 2, -1, -1, -1)).flatten(2).mean(2)

    return Mean()


def test_several_files_are_encoders_of_one_method(tmp_path, maps):
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(str(tmp_path / f"{seed}.pt"))
        torch.jit.save(torch.jit.trace(Plain().eval(), torch.zeros(1, 1, 10, 12, 12)), paths[-1])
    for member in range(2):
        found = run({**GIVEN, "weights": paths}, maps, tmp_path / "out", member)
    assert len(found.other_seeds) == 1 and not np.allclose(
        found.matrices[-1][:4], found.other_seeds[0].matrices[-1][:4]
    )


def test_a_class_of_two_methods_is_taken_as_it_is(tmp_path, maps, classes):
    given = {"adapter": f"{classes}:TwoMethods", "arguments": {"scale": 2.0}, "pretrained_on": ["UKB"]}
    found = run(given, maps, tmp_path / "out")
    x, mask = (np.asarray(nib.load(maps.folder / f"sub-1/anat/sub-1_desc-{n}.nii.gz").dataobj)
               for n in ("preproc_T1w", "brain_mask"))  # fmt: skip
    inside = (x * (mask > 0)).astype(np.float32)
    np.testing.assert_allclose(found.matrices[-1][1], [2 * inside.mean(), 2 * inside.std(ddof=0)], rtol=1e-4)
    assert read_json(tmp_path / "out" / "seed-0" / "model.json")["pretrained_on"] == ["UKB"]
    with pytest.raises(InputError, match="no method forward_embeddings"):
        run(given | {"adapter": f"{classes}:Net", "arguments": {}}, maps, tmp_path / "out")


def test_a_checkpoint_that_executes_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"state_dict": {"conv.weight": torch.ones(1)}, "x": Bomb()}, tmp_path / "w.pth")
    given = Encoder.parse(GIVEN | {"weights": str(tmp_path / "w.pth"), "architecture": "resnet-tiny"})
    with pytest.raises(InputError):
        open_encoder(given)
    assert not (tmp_path / "ran").exists()


def test_a_script_that_writes_files_is_refused(tmp_path):
    class Writes(nn.Module):
        def forward(self, x):
            return torch.from_file("/etc/hostname", False, 1)

    try:
        torch.jit.save(torch.jit.script(Writes()), str(tmp_path / "w.pt"))
    except RuntimeError:
        pytest.skip("this torch compiles no such script")
    with pytest.raises(InputError, match="reads or writes files"):
        open_encoder(Encoder.parse(GIVEN | {"weights": str(tmp_path / "w.pt")}))


def test_a_network_that_gives_no_vector_says_what_to_set(tmp_path, maps, classes):
    torch.save(nn.Conv3d(2, 3, 3).state_dict(), tmp_path / "w.pth")
    state = {f"conv.{k}": v for k, v in torch.load(tmp_path / "w.pth").items()}
    torch.save(state, tmp_path / "w.pth")
    given = GIVEN | {"weights": str(tmp_path / "w.pth"), "architecture": f"{classes}:Net"}
    given |= {"input": {"map": "vbm", "shape": [10, 12, 12], "channels": 2}}
    with pytest.raises(InputError, match=r"not one vector.*pooling: mean"):
        run(given, maps, tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no encoder is given"),
        ({"weights": "a.onnx", "adapter": "m:C"}, "exclude each other"),
        ({"weights": "a.safetensors", **GIVEN}, "architecture is missing"),
        ({"weights": "a.onnx", "pretrained_on": "unknown"}, "input is missing"),
        ({"weights": "a.onnx", "input": GIVEN["input"]}, "pretrained_on is missing"),
        ({"weights": "a.onnx", **GIVEN, "sha256": ["1", "2"]}, "one digest per file"),
        ({"weights": "a.pth", "architecture": "resnet81", **GIVEN}, "'resnet18'"),
        ({"weights": "a.onnx", **GIVEN, "input": {"map": "vbm", "shape": [1, 2, 3], "axes": "RAT"}}, "three letters"),
        ({"weights": "a.onnx", **GIVEN, "input": {"map": "vmb", "shape": [1, 2, 3]}}, "'vbm'"),
        ({"adapter": "my_models", "pretrained_on": "unknown"}, "module:Class"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(values, words):
    with pytest.raises(InputError, match=words):
        Encoder.parse(values, "encoder")


def test_the_volume_is_turned_scaled_and_fitted(tmp_path, rng):
    volume = rng.random((6, 8, 10)).astype(np.float32)
    turned, voxel = turn(volume, np.diag([1.0, 2, 3, 1]), "LIA")
    np.testing.assert_array_equal(turned, volume[::-1, :, ::-1].transpose(0, 2, 1))
    assert voxel.tolist() == [1, 3, 2]
    assert padded(volume, (8, 4, 11)).shape == (8, 4, 11)
    np.testing.assert_array_equal(padded(volume, (8, 4, 11))[1:7, :, :10], volume[:, 2:6])
    ramp = np.arange(20.0)[:, None, None] * np.ones((20, 4, 4))
    found = resampled(ramp, np.array([2.0, 1, 1]), (10, 4, 4))
    np.testing.assert_allclose(found[3:7, 2, 2], np.arange(0.5, 20, 2)[3:7], atol=1e-4)
    volume[0] = 0
    z = scaled(volume, "z-score")
    assert (z[0] == 0).all() and abs(z[1:].mean()) < 1e-6 and abs(z[1:].std() - 1) < 1e-5
    assert scaled(volume, "percentiles", (5, 95)).min() == 0 and scaled(volume, "percentiles").max() == 1
