"""Published weights: tensors come out, code does not run, folds are not confused."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import sys
import types

import pytest
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, sha256
from anatcl.models import build_model
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.checkpoint_file import read_checkpoint
from anatcl.pretrain.official import DIGESTS, PUBLISHED, fetch, import_weights
from anatcl.spec.encoders import Encoder, check_encoder


@pytest.fixture
def state():
    torch.manual_seed(0)
    return build_model("resnet-tiny").state_dict()


@pytest.fixture
def foreign_class(monkeypatch):
    """A class of training code that will be gone when the file is read."""
    module = types.ModuleType("anatcl_training_code")

    class RunOptions:
        pass

    RunOptions.__module__, RunOptions.__qualname__ = "anatcl_training_code", "RunOptions"
    module.RunOptions = RunOptions
    monkeypatch.setitem(sys.modules, "anatcl_training_code", module)
    return RunOptions


def same(found, state) -> bool:
    return found.keys() == state.keys() and all(torch.equal(found[k], v) for k, v in state.items())


def test_plain_checkpoint(tmp_path, state):
    torch.save({"model": state, "epoch": 300}, tmp_path / "w.pth")
    assert same(read_checkpoint(tmp_path / "w.pth"), state)


def test_checkpoint_with_foreign_classes_gives_its_tensors(tmp_path, state, foreign_class, monkeypatch):
    options = foreign_class()
    options.lr, options.path = 1e-4, tmp_path
    content = {"opts": options, "model": state, "args": argparse.Namespace(trial=0), "epoch": 300}
    torch.save(content, tmp_path / "w.pth")
    monkeypatch.delitem(sys.modules, "anatcl_training_code")
    assert same(read_checkpoint(tmp_path / "w.pth"), state)


def test_what_cannot_be_replaced_is_refused_with_a_sentence(tmp_path, state):
    torch.save({"model": state, "optimizer": collections.defaultdict(dict, {"state": 1})}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="refused"):
        read_checkpoint(tmp_path / "w.pth")


def test_parallel_prefix_is_taken_off(tmp_path, state):
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    assert same(read_checkpoint(tmp_path / "w.pth"), state)


class Bomb:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("wrap", ["beside", "inside", "top"])
@pytest.mark.parametrize(
    "call", [os.system, os.popen, eval, exec, __import__("subprocess").check_output, __import__("builtins").print]
)
def test_malicious_pickles_do_not_run(tmp_path, state, call, wrap, capsys):
    flag = tmp_path / "ran"
    code = f"open({str(flag)!r}, 'w').write('x')"
    argument = code if call in (eval, exec) else f"touch {flag}" if call is not print else "RAN"
    bomb = Bomb(call, argument)
    content = {"beside": {"model": state, "x": bomb}, "inside": {"model": {**state, "x": bomb}}, "top": bomb}[wrap]
    torch.save(content, tmp_path / "w.pth")
    try:
        read_checkpoint(tmp_path / "w.pth")
    except InputError as error:
        assert "refused" in str(error) or "no tensors" in str(error)
    assert not flag.exists() and "RAN" not in capsys.readouterr().out


def test_malicious_constructor_of_a_known_looking_module(tmp_path, state):
    """Names that torch allows cannot be bent into a call either."""
    flag = tmp_path / "ran"
    torch.save({"model": state, "x": Bomb(getattr, Bomb(__import__, "os"), "system")}, tmp_path / "w.pth")
    torch.save({"model": state, "x": Bomb(exec, f"open({str(flag)!r}, 'w')")}, tmp_path / "v.pth")
    for name in ("w.pth", "v.pth"):
        try:
            read_checkpoint(tmp_path / name)
        except InputError as error:
            assert error.remedy
    assert not flag.exists()


def test_bare_pickles_and_rubbish_are_refused_with_a_sentence(tmp_path):
    for content in (pickle.dumps(Bomb(os.system, f"touch {tmp_path}/ran")), b"rubbish", b""):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(InputError, match="not a checkpoint"):
            read_checkpoint(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
    torch.save({"weights": 3}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no tensors"):
        read_checkpoint(tmp_path / "w.pth")


def test_bundle_of_published_weights(tmp_path, state):
    torch.save({"model": state}, tmp_path / "w.pth")
    import_weights(str(tmp_path / "w.pth"), tmp_path / "bundle", architecture="resnet-tiny")
    model, description = load_encoder(tmp_path / "bundle")
    assert description["input"]["shape"] == [121, 128, 121] and description["input"]["crop"][1] == [8, 136]
    assert description["source"]["sha256"] == sha256(tmp_path / "w.pth") and model.flip == (0,)
    x = torch.rand(2, 1, 14, 16, 12)
    plain = build_model("resnet-tiny").eval()
    plain.load_state_dict(state)
    with torch.inference_mode():
        torch.testing.assert_close(model.embed(x), plain.embed(x.flip(2)))
        torch.testing.assert_close(model(x), plain(x.flip(2)))


def test_real_layout_loads_strictly(tmp_path):
    torch.save({"model": build_model("resnet18").state_dict()}, tmp_path / "w.pth")
    import_weights(str(tmp_path / "w.pth"), tmp_path / "bundle")
    assert read_json(tmp_path / "bundle/model.json")["embedding_dim"] == 512
    with pytest.raises(InputError, match="do not fit resnet34"):
        import_weights(str(tmp_path / "w.pth"), tmp_path / "bundle", architecture="resnet34")


def test_downloads_need_and_check_their_digest(tmp_path, state):
    torch.save({"model": state}, tmp_path / "w.pth")
    url, digest, cache = (tmp_path / "w.pth").as_uri(), sha256(tmp_path / "w.pth"), tmp_path / "cache"
    with pytest.raises(InputError, match="needs its SHA-256"):
        fetch(url, cache=cache)
    with pytest.raises(InputError, match="it was deleted"):
        fetch(url, "0" * 64, cache)
    assert not list(cache.rglob("*.pth"))
    path = fetch(url, digest, cache)
    assert path.is_relative_to(cache) and sha256(path) == digest
    (tmp_path / "w.pth").unlink()  # cached: the source is not asked again
    assert fetch(url, digest, cache) == path
    path.write_bytes(b"tampered")
    with pytest.raises(InputError, match="SHA-256 is"):
        fetch(url, digest, cache)


def test_folds_of_one_base_name_are_cached_apart(tmp_path):
    """The official loader caches every fold under ``fold0.pth`` ... of both descriptors; here full paths are kept."""
    found = {}
    for kind in "gl":
        source = tmp_path / f"resnet18-anatcl-{kind}3/fold0.pth"
        source.parent.mkdir()
        torch.save({"model": {"x": torch.full((2,), float(ord(kind)))}}, source)
        found[kind] = fetch(source.as_uri(), sha256(source), tmp_path / "cache")
    assert found["g"] != found["l"]
    assert read_checkpoint(found["g"])["x"][0] != read_checkpoint(found["l"])["x"][0]
    assert len(set(PUBLISHED.values())) == 20


def test_both_generations_have_names_and_the_newer_one_is_what_the_authors_fetch():
    new, old = PUBLISHED["anatcl-g3/local/fold-4"], PUBLISHED["anatcl-g3-old/local/fold-4"]
    assert "normTrue_subsetTrue_local_lambd1.0_fold4_splits5" in new and new.endswith("/weights.pth")
    assert old.endswith("/resnet18-anatcl-l3/fold4.pth")
    assert all(len(digest) == 64 and name in PUBLISHED for name, digest in DIGESTS.items())


def test_a_digest_that_is_not_public_is_noted_on_first_use_and_compared_afterwards(tmp_path, monkeypatch, caplog):
    source, cache, name = tmp_path / "weights.pth", tmp_path / "cache", "anatcl-g3/local/fold-1"
    torch.save({"model": {"x": torch.ones(2)}}, source)
    monkeypatch.setitem(PUBLISHED, name, source.as_uri())
    path = fetch(name, cache=cache)
    assert read_json(cache / "first_use.json") == {name: sha256(path)} and "no digest is public" in caplog.text
    caplog.clear()
    assert fetch(name, cache=cache) == path and not caplog.text
    path.unlink()
    torch.save({"model": {"x": torch.zeros(2)}}, source)
    with pytest.raises(InputError, match="it was deleted"):
        fetch(name, cache=cache)
    assert not path.exists()
    monkeypatch.setitem(PUBLISHED, "anatcl-g3/global/fold-0", source.as_uri())  # its digest is public
    with pytest.raises(InputError, match="it was deleted"):
        fetch("anatcl-g3/global/fold-0", cache=cache)


def test_the_words_of_the_workflow_are_five_encoders():
    given = Encoder.parse({"weights": "official-anatcl-global"})
    assert given.members == 5 and given.member(3).weights == ("anatcl-g3/global/fold-3",)
    old = Encoder.parse({"weights": "official-anatcl-local-old"})
    assert old.weights[0] == "anatcl-g3-old/local/fold-0" and list(check_encoder(old)) == []
    with pytest.raises(InputError, match=r"official-anatcl-globl.*'official-anatcl-global"):
        Encoder.parse({"weights": "official-anatcl-globl"})


def test_missing_files_and_foreign_schemes(tmp_path):
    with pytest.raises(InputError, match="do not exist"):
        fetch(str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match="only https"):
        fetch("ftp://example.org/w.pth", "0" * 64, tmp_path)
