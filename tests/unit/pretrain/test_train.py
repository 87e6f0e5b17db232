"""The training loop: it learns, leaves folds out, and resumes bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import anatcl
from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv, write_tsv
from anatcl.pretrain import checkpoint
from anatcl.pretrain.arrays import open_arrays
from anatcl.pretrain.batches import epoch_order
from anatcl.pretrain.bundle import embed_arrays, load_encoder
from anatcl.pretrain.cohort import load_cohort, training_part
from anatcl.pretrain.device import resolve
from anatcl.pretrain.methods import METHODS
from anatcl.pretrain.session import Run
from anatcl.pretrain.train import Inputs, train
from anatcl.spec.training import Options

PACKAGE = Path(anatcl.__file__).parent
TRAINED = [name for name, method in METHODS.items() if method.loss]


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder.safetensors")


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("method", TRAINED)
def test_the_loss_falls_and_files_are_there(pretrain, method):
    folder = pretrain(method, epochs=8, batch_size=8)
    history = read_tsv(folder / "history.tsv")
    assert history["epoch"].tolist() == list(range(1, 9))
    assert history["loss"].iloc[-3:].mean() < history["loss"].iloc[0]
    model = read_json(folder / "model.json")
    assert model["method"] == method and model["architecture"] == "resnet-tiny" and model["input"]["map"] == "vbm"
    for name in ("last.ckpt", "run.json"):
        assert (folder / name).is_file()
    assert {k.split(".")[0] for k in weights(folder)} == (
        {"encoder"} if model["head"] == "none" else {"encoder", "head"}
    )


def test_untrained_is_the_seeded_start_of_every_method(pretrain):
    one, two = pretrain("untrained", "a"), pretrain("untrained", "b", fold=1)
    other = pretrain("untrained", "c", seed=1)
    assert same(weights(one), weights(two)) and not same(weights(one), weights(other))
    assert len(read_tsv(one / "history.tsv")) == 0


def test_people_of_the_fold_are_left_out(pretrain, cohort_files):
    folds = read_tsv(cohort_files["folds.tsv"])
    model = read_json(pretrain("y-aware", fold=1, epochs=1) / "model.json")
    out = set(folds.loc[folds["fold"] == 1, "participant_id"])
    assert set(model["train_participants"]) == set(folds["participant_id"]) - out
    everyone = read_json(pretrain("untrained", fold=-1) / "model.json")
    assert len(everyone["train_participants"]) == 24
    with pytest.raises(InputError, match="fold 7 holds no participant out"):
        pretrain("y-aware", fold=7)


def test_two_runs_are_equal_and_seeds_differ(pretrain):
    one, two, other = pretrain("y-aware", "a"), pretrain("y-aware", "b"), pretrain("y-aware", "c", seed=1)
    assert same(weights(one), weights(two))
    for name in ("history.tsv", "model.json", "encoder.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_stopped_at_any_step_and_resumed_equals_the_straight_run(pretrain, tmp_path, monkeypatch, stop):
    """A signal after step `stop` saves in mid-epoch; the next call goes on; the weights are the same bits."""
    straight = weights(pretrain("anatcl-local", "straight", epochs=3))
    calls = {"n": 0}

    def signalled(self, signal):
        calls["n"] += 1
        signal.received = 15
        return calls["n"] == stop

    with monkeypatch.context() as patch:
        patch.setattr(Run, "must_stop", signalled)
        pretrain("anatcl-local", "broken", status=143, epochs=3)
    assert same(weights(pretrain("anatcl-local", "broken", epochs=3)), straight)
    assert (tmp_path / "broken/history.tsv").read_bytes() == (tmp_path / "straight/history.tsv").read_bytes()


def test_a_changed_parameter_starts_over(pretrain, caplog):
    caplog.set_level("INFO")
    pretrain("y-aware", epochs=2)
    fresh = weights(pretrain("y-aware", "fresh", epochs=2, temperature=0.2))
    again = weights(pretrain("y-aware", epochs=2, temperature=0.2))
    assert same(fresh, again)
    said = [
        r.getMessage()
        for r in caplog.records
        if r.levelname == "WARNING" and "starts from the beginning" in r.getMessage()
    ]
    assert len(said) == 1 and "temperature (was 0.1, is 0.2)" in said[0] and "(epoch 2, step " in said[0]
    assert "learning_rate" not in said[0]


def test_a_checkpoint_that_does_not_fit_is_kept_and_found_again(pretrain, caplog):
    caplog.set_level("INFO")
    folder = pretrain("y-aware", epochs=2)
    first, kept = weights(folder), (folder / "last.ckpt").read_bytes()
    pretrain("y-aware", epochs=2, temperature=0.2)
    second = (folder / "last.ckpt").read_bytes()
    (aside,) = folder.glob("last.*.ckpt")
    assert aside.read_bytes() == kept
    caplog.clear()
    assert same(weights(pretrain("y-aware", epochs=2)), first)
    assert "is resumed" in caplog.text and "resumed after epoch 2" in caplog.text
    # Nothing is lost, however often one goes back and forth.
    pretrain("y-aware", epochs=2, temperature=0.2)
    contents = [path.read_bytes() for path in folder.glob("last*.ckpt")]
    assert kept in contents and second in contents


def test_more_epochs_go_on_and_fewer_do_not(pretrain, caplog):
    caplog.set_level("INFO")
    straight = weights(pretrain("y-aware", "straight", epochs=4))
    short = weights(pretrain("y-aware", "short", epochs=2))
    pretrain("y-aware", epochs=2)
    assert same(weights(pretrain("y-aware", epochs=4)), straight)
    assert "resumed after epoch 2" in caplog.text and "starts from the beginning" not in caplog.text
    assert same(weights(pretrain("y-aware", epochs=2)), short)
    assert "epochs (was trained for 4, is 2)" in caplog.text


# Files, what is added to each, and what the next run says.
EDITS = (
    (("losses/y_aware.py", "pretrain/session.py", "models/conv.py"), "# a word\n", "resumed after epoch 1"),
    (("pretrain/probe.py", "pretrain/checkpoint.py", "losses/simclr.py"), "X = 1\n", "resumed after epoch 1"),
    (("losses/kernels.py", "models/conv.py"), "X = 1\n", "Different in this run: code of the loss; code of the netw"),
    (("pretrain/batches.py",), "X = 1\n", "Different in this run: code of the training loop."),
)


@pytest.mark.slow
def test_only_edits_that_may_change_a_number_start_over(cohort_files, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "anatcl", ignore=shutil.ignore_patterns("__pycache__"))
    options = {"encoder": "resnet-tiny", "epochs": 1, "batch_size": 8}
    command = [sys.executable, "-m", "anatcl", "pretrain", "train", "--method", "y-aware", "--fold", "0"]
    command += ["--arrays", str(cohort_files["arrays"]), "--folds", str(cohort_files["folds.tsv"]), "--threads", "1"]
    command += ["--options", json.dumps(options), "--device", "cpu", "--out-dir", str(tmp_path / "out")]

    def run() -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stderr

    run()
    for names, line, said in EDITS:
        for name in names:
            with (tmp_path / "anatcl" / name).open("a") as file:
                file.write(line)
        assert said in run(), names
    assert len(list((tmp_path / "out").glob("last.*.ckpt"))) == 2


def test_a_lost_history_is_written_again(pretrain):
    folder = pretrain("y-aware", epochs=2)
    before = (folder / "history.tsv").read_bytes()
    (folder / "history.tsv").unlink()
    (folder / "encoder.safetensors").unlink()
    assert pretrain("y-aware", epochs=2) == folder
    assert (folder / "history.tsv").read_bytes() == before and (folder / "encoder.safetensors").exists()


def test_changed_volumes_or_code_start_over(pretrain, cohort_maker, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    files = cohort_maker(tmp_path / "own", people=12)
    pretrain("y-aware", epochs=1, files=files)
    pretrain("y-aware", epochs=1, files=files)
    assert caplog.text.count("resumed after") == 1
    volumes = np.load(files["arrays"] / "volumes.npy")
    np.save(files["arrays"] / "volumes.npy", volumes * np.float16(0.5))
    pretrain("y-aware", epochs=1, files=files)
    monkeypatch.setattr("anatcl.pretrain.identity.code_digest", lambda *_: "0" * 12)
    pretrain("y-aware", epochs=1, files=files)
    assert caplog.text.count("resumed after") == 1
    assert "Different in this run: values of the volumes." in caplog.text
    assert "Different in this run: code of the loss; code of the networks." in caplog.text


def test_a_damaged_checkpoint_starts_over_and_is_kept(pretrain):
    folder = pretrain("y-aware")
    before = weights(folder)
    for damage in (b"", b"no checkpoint", (folder / "last.ckpt").read_bytes()[:5000]):
        (folder / "last.ckpt").write_bytes(damage)
        assert same(weights(pretrain("y-aware")), before)
    assert sorted(path.name for path in folder.glob("last.*.ckpt")) == [
        "last.damaged-2.ckpt",
        "last.damaged-3.ckpt",
        "last.damaged.ckpt",
    ]


def test_a_checkpoint_that_carries_code_does_not_run_it(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    identity = {"method": "x"}
    torch.save({"fingerprint": checkpoint.fingerprint(identity), "model": Bomb()}, tmp_path / "last.ckpt")
    assert checkpoint.load(tmp_path, identity, 1) is None
    (tmp_path / "last.ckpt").write_bytes(pickle.dumps(Bomb()))
    assert checkpoint.load(tmp_path, identity, 1) is None
    assert not (tmp_path / "ran").exists()


def test_scans_without_age_are_dropped_where_needed_and_without_measures_for_all(cohort_files, tmp_path):
    arrays = open_arrays(cohort_files["arrays"])
    folds = read_tsv(cohort_files["folds.tsv"])
    table = read_tsv(cohort_files["measures.tsv"])
    table.loc[3, "thickness_lh_insula"] = np.nan
    write_tsv(tmp_path / "measures.tsv", table.drop(index=5))
    cohort = load_cohort(arrays, tmp_path / "measures.tsv")
    cohort.age[8] = np.nan
    assert len(training_part(load_cohort(arrays), folds, -1, ())) == 24
    for complete, lost in ((False, {5}), (True, {3, 5})):
        for needs, also in (((), set()), (("age",), {8}), (("age", "features"), {8})):
            part = training_part(cohort, folds, -1, needs, complete)
            assert set(range(24)) - set(part.index) == lost | also
            ages = {"age is missing": 1} if also else {}
            assert part.dropped == ages | {"measures are missing": len(lost)}


def test_measures_nobody_has_are_left_out(cohort_files, tmp_path):
    arrays = open_arrays(cohort_files["arrays"])
    table = read_tsv(cohort_files["measures.tsv"])
    columns = [c for c in table if c.startswith("area_")]
    write_tsv(tmp_path / "m.tsv", table.drop(columns=columns).assign(thickness_lh_insula=np.nan))
    cohort = load_cohort(arrays, tmp_path / "m.tsv")
    assert cohort.kinds == ["thickness", "volume"] and "lh_insula" not in cohort.regions
    assert cohort.measures.shape == (24, 4, 2) and np.isfinite(cohort.measures).all()
    with pytest.raises(InputError, match="there are none"):
        training_part(load_cohort(arrays), read_tsv(cohort_files["folds.tsv"]), 0, ("features",))


def test_cohort_query(cohort_files):
    arrays = open_arrays(cohort_files["arrays"])
    assert set(load_cohort(arrays, query="site == 'B' and age > 30").rows["site"]) == {"B"}
    with pytest.raises(InputError, match="query"):
        load_cohort(arrays, query="nonsense > 3")


def test_column_order_of_measures_does_not_matter(cohort_files, tmp_path):
    table = read_tsv(cohort_files["measures.tsv"])
    write_tsv(tmp_path / "m.tsv", table[table.columns[::-1]].iloc[::-1], float_format="%.6g")
    arrays = open_arrays(cohort_files["arrays"])
    one, two = load_cohort(arrays, cohort_files["measures.tsv"]), load_cohort(arrays, tmp_path / "m.tsv")
    np.testing.assert_array_equal(one.measures, two.measures)


def test_encoder_round_trip_and_embedding(pretrain, cohort_files):
    folder = pretrain("y-aware")
    arrays = open_arrays(cohort_files["arrays"])
    model, description = load_encoder(folder, arrays)
    found = embed_arrays(model, arrays, device=resolve("cpu", "fp32", threads=1), batch_size=5)
    assert found.shape == (24, description["embedding_dim"]) and torch.isfinite(found).all()
    some = embed_arrays(model, arrays, [7, 2], resolve("cpu", "fp32", threads=1))
    torch.testing.assert_close(some, found[[7, 2]])


def test_encoder_of_another_input_is_refused(pretrain, cohort_files):
    folder = pretrain("untrained")
    description = read_json(folder / "model.json")
    description["input"]["shape"] = [9, 8, 7]
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="trained on shape"):
        load_encoder(folder, open_arrays(cohort_files["arrays"]))
    (folder / "encoder.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="do not fit"):
        load_encoder(folder)


def test_epoch_order():
    order = epoch_order(10, 4, seed=0, epoch=0)
    assert order.shape == (2, 4) and len(set(order.ravel())) == 8
    assert np.array_equal(order, epoch_order(10, 4, 0, 0)) and not np.array_equal(order, epoch_order(10, 4, 0, 1))
    assert epoch_order(3, 32, 0, 0).shape == (1, 3)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"epochs": 0}, "epochs is 0: it should be"),
        ({"epochs": "five"}, "epochs is 'five': it should be a whole number"),
        ({"epochs": True}, "true is not a number"),
        ({"augment": {"flipp": {}}}, "did you mean 'flip'"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_bad_options_are_named(values, words):
    with pytest.raises(InputError, match=words):
        Options.parse(values)


def test_cuda_absent_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("auto").device.type == "cpu"
    with pytest.raises(InputError, match="no CUDA device"):
        resolve("cuda")
    with pytest.raises(InputError, match="fp16 needs CUDA"):
        resolve("cpu", "fp16")


def test_bounded_steps(pretrain):
    folder = pretrain("y-aware", epochs=50, max_steps=6)
    assert read_json(folder / "model.json")["steps"] == 6
    assert pd.read_csv(folder / "history.tsv", sep="\t")["step"].iloc[-1] == 6


def test_cuda_like_precision_on_cpu(pretrain, cohort_files, tmp_path):
    inputs = Inputs(cohort_files["arrays"], cohort_files["folds.tsv"], 0, "y-aware", tmp_path / "bf16")
    options = Options(encoder="resnet-tiny", epochs=2, batch_size=4, learning_rate=1e-3)
    train(inputs, options, "cpu", "bf16", threads=1)
    assert read_json(tmp_path / "bf16/model.json")["precision"] == "bf16"
    assert all(t.dtype in (torch.float32, torch.int64) for t in weights(tmp_path / "bf16").values())


def test_augmentation_embeds_two_views_and_is_replayed_on_resume(pretrain, monkeypatch, tmp_path):
    chosen = {"flip": {}, "noise": {"p": 1.0}, "affine": {"degrees": 5}}
    straight = pretrain("y-aware", "straight", epochs=2, augment=chosen)
    model = read_json(straight / "model.json")
    assert model["augmentation"] == chosen
    assert not same(weights(straight), weights(pretrain("y-aware", "plain", epochs=2)))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "must_stop", lambda self, stop: setattr(stop, "received", 15) or self.step == 3)
        pretrain("y-aware", "broken", status=143, epochs=2, augment=chosen)
    assert same(weights(pretrain("y-aware", "broken", epochs=2, augment=chosen)), weights(straight))


def test_simclr_is_augmented_unless_told_otherwise(pretrain):
    assert read_json(pretrain("simclr", "a", epochs=1) / "model.json")["augmentation"]
    assert not read_json(pretrain("simclr", "b", epochs=1, augment="none") / "model.json")["augmentation"]
    assert not read_json(pretrain("y-aware", "c", epochs=1) / "model.json")["augmentation"]


def test_accumulated_batches_make_fewer_steps(pretrain):
    assert read_json(pretrain("y-aware", "a", epochs=2) / "model.json")["steps"] == 8
    assert read_json(pretrain("y-aware", "b", epochs=2, accumulate=3) / "model.json")["steps"] == 4


def test_early_probe_writes_columns_and_changes_nothing(pretrain):
    plain, probed = pretrain("y-aware", "a", epochs=4), pretrain("y-aware", "b", epochs=4, probe_every=2)
    history = read_tsv(probed / "history.tsv")
    assert history["probe_age_mae"].notna().tolist() == [False, True, False, True]
    assert history["probe_age_mae"].iloc[-1] < 40 and 0 <= history["probe_site_bacc"].iloc[-1] <= 1
    assert same(weights(plain), weights(probed))


def test_tensorboard_is_written_or_asked_for(pretrain):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="not installed"):
            pretrain("y-aware", epochs=1, tensorboard=True)
    else:
        assert list((pretrain("y-aware", epochs=1, tensorboard=True) / "tensorboard").iterdir())


@pytest.mark.parametrize("method", TRAINED)
def test_overfits_eight_scans(cohort_maker, tmp_path, method):
    """Each loss falls on eight samples; supervised age regression learns them to less than a year."""
    files = cohort_maker(tmp_path, people=8, seed=3)
    options = {"encoder": "resnet-tiny", "epochs": 60, "batch_size": 8, "learning_rate": 3e-3, "weight_decay": 0.0}
    inputs = Inputs(files["arrays"], files["folds.tsv"], -1, method, tmp_path / "out", files["measures.tsv"])
    train(inputs, Options.parse(options | {"augment": "none"}), "cpu", threads=1)
    loss = read_tsv(tmp_path / "out/history.tsv")["loss"]
    assert loss.iloc[-5:].mean() < loss.iloc[0]
    if method == "age-regression":
        assert loss.iloc[-5:].mean() < 1.0


def test_perplexity_of_each_kernel_is_printed_and_kept(pretrain, caplog):
    caplog.set_level("INFO")
    for method, kernels in (("anatcl-z", {"anatomy", "age"}), ("supcon", {"bin"}), ("simclr", set())):
        caplog.clear()
        model = read_json(pretrain(method, method, epochs=1) / "model.json")
        assert set(model["weights_perplexity"]) == kernels
        for name, value in model["weights_perplexity"].items():
            assert f"weights of {name}: perplexity {100 * value:.3f} % of uniform" in caplog.text


@pytest.mark.slow
def test_compiled_network_trains_as_the_plain_one(pretrain):
    """``compile: true`` changes speed, not what is learned (to rounding), nor the names of the weights."""
    pytest.importorskip("torch._inductor")
    plain = pretrain("y-aware", "plain", epochs=1, max_steps=2)
    compiled = pretrain("y-aware", "compiled", epochs=1, max_steps=2, compile=True)
    assert weights(plain).keys() == weights(compiled).keys()
    one, two = (read_tsv(f / "history.tsv")["loss"].iloc[-1] for f in (plain, compiled))
    assert one == pytest.approx(two, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(cohort_files, tmp_path, precision):
    inputs = Inputs(cohort_files["arrays"], cohort_files["folds.tsv"], 0, "anatcl-local", tmp_path / "out")
    inputs = dataclasses.replace(inputs, measures=cohort_files["measures.tsv"])
    options = Options.parse({"encoder": "resnet-tiny", "epochs": 8, "batch_size": 8, "learning_rate": 1e-3})
    assert train(inputs, options, "cuda", precision) == 0
    loss = read_tsv(tmp_path / "out/history.tsv")["loss"]
    assert loss.iloc[-3:].mean() < loss.iloc[0]


def test_precision_on_a_cpu(monkeypatch):
    """bf16 where the processor multiplies it and the network is large enough to gain; else float32."""
    from anatcl.pretrain import device

    for has, small, expected in ((True, False, "bf16"), (True, True, "fp32"), (False, False, "fp32")):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda has=has: has)
        assert device.resolve("cpu", small=small).precision == expected
    assert device.resolve("cpu", "bf16").precision == "bf16"


def test_accumulated_gradients_are_those_of_the_whole_batch(pretrain, monkeypatch):
    """Four batches summed by three: steps of three and of one, each with the mean gradient of its batches.

    With running statistics in BatchNorm and a mean over people as loss, that is the gradient of one large batch.
    """
    plain_loss, plain_update, seen, sizes = Run.batch_loss, Run.update, [], []

    def batch_loss(run, x, ids):
        run.network.eval()
        seen.append((x, ids))
        return plain_loss(run, x, ids)

    def update(run):
        found = [p.grad.clone() for p in run.model.parameters()]
        whole = plain_loss(run, torch.cat([x for x, _ in seen]), np.concatenate([ids for _, ids in seen]))
        expected = torch.autograd.grad(whole, list(run.model.parameters()))
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
        sizes.append(len(seen))
        seen.clear()
        plain_update(run)

    monkeypatch.setattr(Run, "batch_loss", batch_loss)
    monkeypatch.setattr(Run, "update", update)
    pretrain("age-regression", epochs=2, accumulate=3)
    assert sizes == [3, 1, 3, 1]


def test_checkpoints_are_written_by_time(pretrain, monkeypatch):
    """A short run saves once, at its end; with no time between two, after each step but those that end an epoch."""
    from anatcl.pretrain import train as module

    saved = []
    monkeypatch.setattr(Run, "save", lambda run: saved.append((run.epoch, run.done)))
    pretrain("y-aware", "a", epochs=2)
    assert saved == [(2, 0)]
    saved.clear()
    monkeypatch.setattr(module, "SAVE_EVERY", -1)
    pretrain("y-aware", "b", epochs=2)
    assert len(saved) == 9 and saved[-1] == (2, 0)


def test_the_callers_torch_is_left_as_it_was(pretrain):
    """Threads, determinism and kernel choice are set for a training and put back."""
    from anatcl.pretrain.device import applied

    def state():
        cudnn = torch.backends.cudnn
        flags = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), flags

    before = state()
    resolve("cpu", threads=before[0] + 1)
    assert state() == before
    pretrain("y-aware", epochs=1)
    assert state() == before
    with pytest.raises(KeyError), applied(resolve("cpu", threads=before[0] + 1)):
        assert torch.get_num_threads() == before[0] + 1 and torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert state() == before


def test_volumes_are_hashed_when_they_are_written(cohort_maker, tmp_path, monkeypatch):
    """The digest is noted once, and computed anew only for a file that changed since."""
    from anatcl.pretrain import arrays

    folder = cohort_maker(tmp_path)["arrays"]
    noted = open_arrays(folder).sha256
    calls = []
    monkeypatch.setattr(arrays, "sha256", lambda path: calls.append(path) or "computed")
    assert open_arrays(folder).sha256 == noted == read_json(folder / "arrays.json")["volumes_sha256"] and not calls
    later = (folder / "arrays.json").stat().st_mtime_ns + 10**9
    os.utime(folder / "volumes.npy", ns=(later, later))
    assert open_arrays(folder).sha256 == "computed" and calls == [folder / "volumes.npy"]


@pytest.mark.parametrize("wanted", ["auto", False])
def test_a_cpu_compiles_only_when_told_to(wanted):
    from anatcl.pretrain.compiling import compiled

    assert compiled(torch.nn.Linear(1, 1), wanted, resolve("cpu"), 1, False) is None


def test_a_compiler_that_fails(monkeypatch, caplog):
    """`auto` warns once and goes on; `true` is refused."""
    from anatcl.pretrain import compiling
    from anatcl.pretrain.device import Device

    monkeypatch.setattr(compiling, "why_not", lambda device: "no C compiler")
    gpu, layer = Device(torch.device("cuda"), "bf16", True), torch.nn.Linear(1, 1)
    assert compiling.compiled(layer, "auto", gpu, 1, False) is None
    assert [r.message for r in caplog.records] == ["the network is not compiled, which makes it slower: no C compiler"]
    with pytest.raises(InputError, match=r"no C compiler.*compile: auto"):
        compiling.compiled(layer, True, gpu, 1, False)
    with pytest.raises(InputError, match="auto, true or false"):
        Options.parse({"compile": "sometimes"})


def test_every_command_embeds_in_one_precision(monkeypatch):
    """The precision of embedding is that of training, for the same network and device."""
    from anatcl.pretrain import device

    for has in (True, False):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda has=has: has)
        for encoder in ("resnet18", "resnet-tiny"):
            assert device.for_embedding(encoder, "cpu") == resolve("cpu", small=encoder == "resnet-tiny")


def test_batches_stay_below_the_count_of_kernels():
    """Full-size volumes at 1 mm: fewer at a time than the device would take."""
    from anatcl.pretrain.bundle import embedding_batch, most_volumes

    assert embedding_batch("cuda", (121, 128, 121)) == 32 and embedding_batch("cpu", (121, 128, 121)) == 8
    assert most_volumes((121, 128, 121)) * 64 * 61 * 64 * 61 < 2**31
    assert embedding_batch("cuda", (364, 436, 364)) == (2**31 - 1) // (64 * 182 * 218 * 182)
