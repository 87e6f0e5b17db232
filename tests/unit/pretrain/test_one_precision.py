"""Whoever embeds, by whatever function, does so in one precision and leaves torch as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.evaluate.probes.finetune import FineTune, Network
from anatcl.evaluate.steps.embed import embed
from anatcl.evaluate.steps.embed_given import Packed, embed_given
from anatcl.pretrain import device
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.bundle import embed_arrays, embedding_batch, load_encoder
from anatcl.pretrain.device import Device


@pytest.mark.parametrize("bf16", [True, False])
def test_all_ways_to_embed_give_the_same_bytes(pretrain, cohort_files, tmp_path, monkeypatch, bf16):
    """The function on arrays, the step of our own encoders, and the step of encoders that a user brings."""
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: bf16)
    folder, arrays = pretrain("y-aware", epochs=1), open_arrays(cohort_files["arrays"])
    found = embed_arrays(load_encoder(folder, arrays)[0], arrays).numpy()
    embed(cohort_files["arrays"], folder, tmp_path / "ours" / "e.npz", device="cpu")
    np.testing.assert_array_equal(np.load(tmp_path / "ours" / "e.npz")["embedding"], found)
    given = {"weights": str(folder), "pretrained_on": "unknown"}
    embed_given(given, 0, Packed(arrays, arrays.rows), tmp_path / "theirs" / "e.npz", device="cpu")
    np.testing.assert_array_equal(np.load(tmp_path / "theirs" / "e.npz")["embedding"], found)
    assert read_json(tmp_path / "theirs" / "model.json")["precision"] == "fp32"


def test_a_training_leaves_the_callers_torch_alone(pretrain):
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    pretrain("simclr", epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before[1:]


def test_no_batch_is_larger_than_kernels_count(cohort_files):
    """What a caller asks for in embedding is split; what fine-tuning would put into one step is refused."""
    assert embedding_batch("cpu", (364, 436, 364), 1000) == (2**31 - 1) // (64 * 182 * 218 * 182)
    assert embedding_batch("cpu", (14, 16, 12), 1000) == 1000
    arrays, gpu = open_arrays(cohort_files["arrays"]), Device(torch.device("cuda"), "bf16", True)
    with pytest.raises(InputError, match=r"200,000 volumes at once .* 2\^31 elements.*finetune: batch_size to at most"):
        FineTune(arrays, lambda fold: None, gpu, batch_size=200_000)


def test_fine_tuning_scales_its_loss_where_float16_needs_it(pretrain, cohort_files, monkeypatch):
    """A scale is a power of two: with one, fine-tuning in float32 ends at the same bits."""
    folder, arrays = pretrain("untrained"), open_arrays(cohort_files["arrays"])
    x, y = np.arange(12.0)[:, None], read_tsv(cohort_files["arrays"] / "rows.tsv")["age"].to_numpy()[:12, None]
    found = []
    for enabled in (False, True):
        scaler = torch.amp.GradScaler("cpu", enabled=enabled)
        monkeypatch.setattr(Device, "scaler", lambda self, scaler=scaler: scaler)
        how = FineTune(arrays, lambda fold: load_encoder(folder, arrays), device.resolve("cpu", "fp32"), 1, 4)
        found.append(Network(how, 0, 0, 0).fit(x, y, np.arange(12), np.random.default_rng(0)).predict(x))
        assert enabled == (scaler.get_scale() > 1)
    np.testing.assert_array_equal(*found)
