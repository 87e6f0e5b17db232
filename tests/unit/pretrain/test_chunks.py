"""A batch embedded in chunks has the gradient of the whole batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anatcl.base.errors import InputError
from anatcl.base.files import read_json
from anatcl.losses.joint import Joint
from anatcl.losses.regress import Regress
from anatcl.losses.y_aware import YAware
from anatcl.models import build_model
from anatcl.pretrain.augment import Augment
from anatcl.pretrain.chunks import chunked_backward, pieces, unnoted_statistics
from anatcl.pretrain.distributed import World
from anatcl.pretrain.session import Run
from anatcl.spec.check import check_files_and_names
from anatcl.spec.config import parse

N = 7


@given(st.integers(1, 200), st.integers(1, 50))
def test_pieces_cover_everybody_once(n, chunk):
    found = pieces(n, chunk)
    assert [i for part in found for i in range(n)[part]] == list(range(n))
    sizes = [part.stop - part.start for part in found]
    assert max(sizes) <= max(chunk, 3) and max(sizes) - min(sizes) <= 1 and (n == 1 or min(sizes) >= 2)


@pytest.fixture
def whole():
    """A network in float64 with running statistics, volumes, a joint loss and its targets."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    raw = {name: torch.rand(N, *shape, generator=random, dtype=torch.float64) for name, shape in
           {"measures": (4, 3), "covariates": (3,), "age": ()}.items()}  # fmt: skip
    loss = Joint({"y-aware": YAware(), "regress": Regress()}, {"y-aware": 1.0, "regress": 0.5})
    targets = loss.fit(raw | {"age": raw["age"] * 60})
    model = build_model("resnet-tiny", loss.head).double().eval()
    x = torch.randn(N, 1, 10, 11, 9, generator=random, dtype=torch.float64)
    return model, x, loss, targets


def gradients(model):
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return found


@pytest.mark.parametrize("chunk", [2, 3, 5])
def test_gradient_in_float64_is_that_of_the_whole_batch(whole, chunk):
    model, x, loss, targets = whole
    loss(model(x), targets, 2)["loss"].backward()
    expected = gradients(model)
    chunked_backward(model, lambda part, k: model(part), lambda z: loss(z, targets, 2)["loss"], x, chunk, 1)
    for got, want in zip(gradients(model), expected, strict=True):
        assert (got - want).norm() <= 1e-10 * want.norm() + 1e-14


def test_augmented_views_are_replayed(whole):
    """Two views of each chunk, drawn from the chunk's seed: the same volumes in both passes, and in one whole batch."""
    model, x, loss, targets = whole
    augment = Augment.parse({"flip": {}, "noise": {"p": 1.0}, "affine": {"degrees": 5}})
    model, x = model.float(), x.float()

    def two_views(part, k):
        return torch.cat([augment(part, 10 * k + view) for view in range(2)])

    parts = [two_views(x[p], k) for k, p in enumerate(pieces(N, 3))]
    views = torch.cat(
        [torch.cat([part[: len(part) // 2] for part in parts]), torch.cat([p[len(p) // 2 :] for p in parts])]
    )
    model.double()
    loss(model(views.double()), targets)["loss"].backward()
    expected = gradients(model)

    def embed(part, k):
        return model(two_views(part, k).double())

    chunked_backward(model, embed, lambda z: loss(z, targets)["loss"], x, 3, 2)
    for got, want in zip(gradients(model), expected, strict=True):
        assert (got - want).norm() <= 1e-10 * want.norm() + 1e-14


def test_statistics_are_noted_once(whole):
    """In training, BatchNorm takes its statistics from each chunk and notes them in the second pass alone."""
    model, x, loss, targets = whole
    model.train()
    start = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad(), unnoted_statistics(model):
        model(x)
    assert all(torch.equal(v, start[k]) for k, v in model.state_dict().items())
    chunked_backward(model, lambda part, k: model(part), lambda z: loss(z, targets, 2)["loss"], x, 4, 1)
    found = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(start)
    with torch.no_grad():
        for part in pieces(N, 4):
            model(x[part])
    assert all(torch.equal(v, found[k]) for k, v in model.state_dict().items())


def test_no_more_than_a_chunk_goes_through_the_network(pretrain, monkeypatch):
    sizes, plain = [], Run.embed
    monkeypatch.setattr(Run, "embed", lambda run, x, chunk=0: sizes.append(len(x)) or plain(run, x, chunk))
    about = read_json(pretrain("anatcl-local", epochs=1, batch_size=8, chunk=3) / "model.json")
    assert about["hyperparameters"]["chunk"] == 3 and about["steps"] == 2
    assert sizes == [3, 3, 2, 3, 3, 2] * 2


def test_a_chunk_as_large_as_the_batch_is_no_chunk(pretrain):
    one, two = (pretrain("y-aware", str(chunk), chunk=chunk) for chunk in (0, 4))
    assert (one / "encoder.safetensors").read_bytes() == (two / "encoder.safetensors").read_bytes()


def test_augmented_chunks_train_and_repeat(pretrain):
    one, two = (pretrain("simclr", name, epochs=1, chunk=2) for name in "ab")
    assert (one / "encoder.safetensors").read_bytes() == (two / "encoder.safetensors").read_bytes()


def test_shared_batches_are_refused_early_and_late(pretrain, monkeypatch):
    config = parse({"pretrain": {"processes": 2, "options": {"chunk": 8}}})
    assert [place for place, _ in check_files_and_names(config)] == [("pretrain", "options", "chunk")]
    monkeypatch.setattr("anatcl.pretrain.distributed.start", lambda device: World(0, 2))
    monkeypatch.setattr(World, "wrap", lambda self, model: model)
    monkeypatch.setattr("anatcl.pretrain.distributed.stop", lambda world: None)
    with pytest.raises(InputError, match=r"2 processes share the batch.*chunk: 0"):
        pretrain("y-aware", chunk=2)


def test_a_batch_of_1024_in_chunks_of_32():
    """The gradient is the whole batch's to 1e-6, with never more than 32 people in the network."""
    random = torch.Generator().manual_seed(0)
    model = build_model("resnet-tiny").double().eval()
    x = torch.randn(1024, 1, 6, 5, 7, generator=random, dtype=torch.float64)
    loss, targets = YAware(), {"age": 60 * torch.rand(1024, generator=random, dtype=torch.float64)}
    loss(model(x), targets, 2)["loss"].backward()
    expected, sizes = gradients(model), []

    def embed(part, k):
        sizes.append(len(part))
        return model(part)

    chunked_backward(model, embed, lambda z: loss(z, targets, 2)["loss"], x, 32, 1)
    assert sizes == [32] * 64
    for got, want in zip(gradients(model), expected, strict=True):
        assert (got - want).norm() <= 1e-6 * want.norm() + 1e-14
