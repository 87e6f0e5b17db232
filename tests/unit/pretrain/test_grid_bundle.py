"""A bundle with a grid pool is embedded, attributed, fine-tuned and exported like another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.evaluate.probes.attribution import integrated_gradients
from anatcl.evaluate.probes.finetune import FineTune, Network
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.device import resolve
from anatcl.pretrain.export import export


@pytest.fixture
def bundle(pretrain):
    return pretrain("y-aware", epochs=1, pooling="grid")


def test_it_embeds_and_can_be_attributed(bundle, cohort_files):
    arrays = open_arrays(cohort_files["arrays"])
    model, about = load_encoder(bundle, arrays)
    assert about["pooling"] == "grid" and about["embedding_dim"] == 512
    found = embed_arrays(model, arrays, [1, 2], resolve("cpu", "fp32", threads=1))
    assert found.shape == (2, 512) and torch.isfinite(found).all()
    model, _ = load_encoder(bundle, arrays)
    x = torch.from_numpy(np.asarray(arrays.volumes[0], np.float32))
    shares = integrated_gradients(model.embed, x, torch.zeros_like(x), torch.ones(512), 4)
    assert torch.as_tensor(shares).isfinite().all()


def test_it_is_exported(bundle, tmp_path):
    export(bundle, tmp_path / "encoder.safetensors")
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    export(bundle, tmp_path / "encoder.onnx", "onnx")
    model, about = load_encoder(bundle)
    x = torch.randn(3, 1, *about["input"]["shape"])
    (found,) = runtime.InferenceSession(tmp_path / "encoder.onnx").run(None, {"volume": x.numpy()})
    np.testing.assert_allclose(found, model.embed(x).detach().numpy(), atol=1e-4)


def test_it_is_fine_tuned(bundle, cohort_files):
    place = resolve("cpu", "fp32", threads=1)
    how = FineTune(open_arrays(cohort_files["arrays"]), lambda _: load_encoder(bundle), place, epochs=1, batch_size=4)
    rows, target = np.arange(8)[:, None], np.linspace(20, 60, 8)[:, None]
    network = Network(how, 0, 0, 0).fit(rows, target, rows, np.random.default_rng(0))
    assert np.isfinite(network.predict(rows)).all()


def test_a_bundle_that_says_another_pool_is_refused(bundle):
    about = bundle / "model.json"
    about.write_text(about.read_text().replace('"pooling": "grid"', '"pooling": "average"'))
    assert read_json(about)["pooling"] == "average"
    with pytest.raises(InputError, match="do not fit"):
        load_encoder(bundle)
