"""Optimiser, schedules, clipping and the moving average: known values, and equal bits after a stop."""

from __future__ import annotations

import math
import re

import pytest
import torch
from safetensors.torch import load_file

from anatcl.base.errors import InputError
from anatcl.base.files import read_json, read_tsv
from anatcl.pretrain.optimise import learning_rate, make_average, make_optimizer, total_steps
from anatcl.pretrain.session import Run
from anatcl.spec.training import Options

EVERYTHING = {
    "joint": {"both": {"anatcl-z": 1.0, "regress": 0.5}},
    "optimiser": "adamw",
    "schedule": "cosine",
    "warmup_steps": 3,
    "clip_norm": 0.5,
    "ema": 0.9,
    "chunk": 2,
}


def rates(total, **options):
    told = Options.parse({"learning_rate": 1.0, **options})
    return [learning_rate(told, step, step // 2, total) for step in range(total)]


def test_the_published_schedule_is_unchanged():
    assert rates(40) == [0.9 ** (step // 2 // 10) for step in range(40)]


def test_warm_up_and_cosine():
    found = rates(8, schedule="cosine", warmup_steps=4)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:] == pytest.approx([(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)])
    assert rates(3, schedule="constant") == [1.0] * 3
    assert rates(3, schedule="constant", warmup_steps=2) == [0.5, 1.0, 1.0]
    assert all(0 < rate <= 1 for rate in rates(4, schedule="cosine", warmup_steps=9))


@pytest.mark.parametrize(("options", "steps"), [({}, 8), ({"accumulate": 3}, 4), ({"max_steps": 5}, 5)])
def test_the_number_of_steps_is_what_a_training_takes(pretrain, options, steps):
    told = {"epochs": 2, "batch_size": 4} | options
    assert total_steps(Options.parse(told), 16) == steps
    assert read_json(pretrain("y-aware", **told) / "model.json")["steps"] == steps
    assert total_steps(Options.parse({"epochs": 3}), 5) == 3


def test_adamw_shrinks_weights_that_have_no_gradient_and_adam_takes_them_along():
    for kind, expected in (("adamw", 1 - 0.1 * 0.5), ("adam", 1 - 0.1)):
        layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(layer.weight)
        layer.weight.grad = torch.zeros(1, 1)
        options = Options.parse({"optimiser": kind, "learning_rate": 0.1, "weight_decay": 0.5})
        make_optimizer(layer, options).step()
        assert layer.weight.item() == pytest.approx(expected, rel=1e-5)


def test_the_average_is_the_recursion():
    layer = torch.nn.BatchNorm1d(1)
    average = make_average(layer, Options.parse({"ema": 0.75}))
    weights, statistics = [1.0, 3.0, -2.0], [0.0, 4.0, 8.0]
    for weight, statistic in zip(weights, statistics, strict=True):
        layer.weight.data.fill_(weight)
        layer.running_mean.fill_(statistic)
        average.update_parameters(layer)
    expected = [v[0] * 0.75**2 + v[1] * 0.25 * 0.75 + v[2] * 0.25 for v in (weights, statistics)]
    assert [average.module.weight.item(), average.module.running_mean.item()] == pytest.approx(expected)
    assert make_average(layer, Options()) is None


def test_what_is_written_is_the_average(pretrain, monkeypatch):
    seen = []
    update = Run.update

    def noted(run):
        update(run)
        seen.append({k: v.clone() for k, v in run.model.state_dict().items() if v.is_floating_point()})

    monkeypatch.setattr(Run, "update", noted)
    folder = pretrain("y-aware", ema=0.6)
    expected = seen[0]
    for state in seen[1:]:
        expected = {k: 0.6 * expected[k] + 0.4 * v for k, v in state.items()}
    found = load_file(folder / "encoder.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_clipped(pretrain, monkeypatch):
    norms = []
    step = torch.optim.Adam.step

    def noted(optimizer, *args, **kwargs):
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))))
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    pretrain("y-aware", "free", epochs=1)
    largest = max(norms)
    norms.clear()
    pretrain("y-aware", "clipped", epochs=1, clip_norm=largest / 10)
    assert max(norms) <= largest / 10 * 1.001


def test_epoch_lines_and_history_say_how_it_goes(pretrain, caplog):
    caplog.set_level("INFO")
    history = read_tsv(pretrain("y-aware", epochs=3, schedule="cosine") / "history.tsv")
    lines = re.findall(r"epoch (\d) of 3: loss ([\d.]+), learning rate ([\d.e-]+), (\d+:\d\d:\d\d) left", caplog.text)
    assert [int(line[0]) for line in lines] == [1, 2, 3] and lines[-1][3] == "0:00:00"
    for line, (_, row) in zip(lines, history.iterrows(), strict=True):
        assert float(line[1]) == pytest.approx(row["loss"], rel=1e-4)
        assert float(line[2]) == pytest.approx(row["lr"], rel=1e-2)
    assert history["lr"].is_monotonic_decreasing and history["lr"].iloc[-1] < 1e-4


@pytest.mark.parametrize("stop", [2, 5])
def test_everything_at_once_resumes_to_the_same_bytes(pretrain, tmp_path, monkeypatch, stop):
    """A joint objective with moving average, chunks, clipping, warm-up and cosine, stopped in mid-epoch."""
    pretrain("both", "straight", **EVERYTHING)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "must_stop", lambda self, signal: setattr(signal, "received", 15) or self.step == stop)
        pretrain("both", "broken", status=143, **EVERYTHING)
    pretrain("both", "broken", **EVERYTHING)
    for name in ("encoder.safetensors", "history.tsv", "model.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_more_epochs_of_a_cosine_are_another_training(pretrain, caplog):
    pretrain("y-aware", epochs=1, schedule="cosine")
    pretrain("y-aware", epochs=2, schedule="cosine")
    assert "epochs (was 1, is 2)" in caplog.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optimiser": "adamW"}, "'adamw'"),
        ({"schedule": "cosin"}, "'cosine'"),
        ({"ema": 1}, "less than 1"),
        ({"chunk": 1}, "0 or at least 2"),
        ({"pooling": "grd"}, "'grid'"),
        ({"missing_measures": "drp"}, "'drop'"),
        ({"clip_norm": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_options_are_named(values, words):
    with pytest.raises(InputError, match=words):
        Options.parse(values)


def test_an_early_probe_looks_at_the_average_and_changes_nothing(pretrain):
    plain = pretrain("y-aware", "a", epochs=3, ema=0.9)
    probed = pretrain("y-aware", "b", epochs=3, ema=0.9, probe_every=1)
    assert read_tsv(probed / "history.tsv")["probe_age_mae"].notna().all()
    assert (plain / "encoder.safetensors").read_bytes() == (probed / "encoder.safetensors").read_bytes()
