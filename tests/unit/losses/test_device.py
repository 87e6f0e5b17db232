"""No loss waits for the device, and none leaves float32 under autocast."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.nn import functional as F

from anatcl.losses.age_regression import AgeRegression
from anatcl.losses.anatcl_global import AnatCLGlobal
from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.losses.anatcl_z import AnatCLZ
from anatcl.losses.expw import ExpW
from anatcl.losses.rank_n_contrast import RankNContrast
from anatcl.losses.simclr import SimCLR
from anatcl.losses.supcon import SupCon
from anatcl.losses.threshold import Threshold
from anatcl.losses.y_aware import YAware

CONTRASTIVE = (AnatCLGlobal, AnatCLLocal, AnatCLZ, YAware, ExpW, Threshold, SimCLR, SupCon, RankNContrast)


def prepared(loss, batch):
    covariates = torch.stack([batch.age, batch.age.round() % 2, batch.measures.sum((1, 2))], dim=1)
    return loss.fit({"age": batch.age, "measures": batch.measures, "covariates": covariates})


@pytest.mark.parametrize("kind", [*CONTRASTIVE, AgeRegression])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_step_reads_nothing_back(batch, kind, copies, monkeypatch):
    """Tensors of the meta device have no values: whatever asked for one (a host sync on a GPU) would raise."""
    loss = kind()
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # meta has no autocast
    targets = {name: t.to("meta") for name, t in prepared(loss, batch).items()}
    rows = 12 // copies
    z = torch.empty((rows,) if kind is AgeRegression else (rows, 5), device="meta", requires_grad=True)
    terms = loss(z, targets, 1 if kind is AgeRegression else copies)
    terms["loss"].backward()
    assert terms["loss"].shape == () and z.grad.shape == z.shape


@pytest.mark.parametrize("kind", CONTRASTIVE)
def test_float32_under_autocast(batch, kind):
    """Half-precision embeddings whose sums overflow or round away in half precision give the float32 loss."""
    loss = kind(temperature=0.01) if kind is not RankNContrast else kind()  # logits to 100: exp overflows half types
    targets = prepared(loss, batch)
    z = F.normalize(batch.z, dim=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(z, targets)["loss"]
    outside = loss(z.float(), targets)["loss"]
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, outside, rtol=1e-6, atol=1e-6)
