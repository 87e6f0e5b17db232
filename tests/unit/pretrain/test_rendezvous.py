"""How the nodes of a job find each other, and which processes a configuration asks for."""

from __future__ import annotations

import pytest

from anatcl.base.errors import InputError
from anatcl.plan import Plan
from anatcl.pretrain import distributed


def test_several_nodes_need_a_place_to_meet(monkeypatch):
    for name in ("SLURM_JOB_NODELIST", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="not a SLURM job"):
        distributed.rendezvous(2)
    monkeypatch.setenv("MASTER_ADDR", "node7")
    monkeypatch.setenv("SLURM_JOB_ID", "12345")
    options = distributed.rendezvous(2)
    assert options == ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=node7:22345", "--rdzv-id=12345"]


def test_torchrun_starts_where_there_is_more_than_one_process(monkeypatch):
    started: list[list[str]] = []
    monkeypatch.setattr(distributed.os, "execv", lambda program, words: started.append(words))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "node7")
    distributed.relaunch(1)
    assert not started
    distributed.relaunch(1, nodes=2)
    distributed.relaunch(4)
    assert "--nnodes=2" in started[0] and "--nproc-per-node=1" in started[0]
    assert "--standalone" in started[1] and "--nproc-per-node=4" in started[1]


@pytest.mark.parametrize(
    ("settings", "processes", "launcher"),
    [
        ({}, 1, ""),
        ({"gpus": 4}, 4, ""),
        ({"gpus": 8, "nodes": 2}, 4, "srun --nodes=2 --ntasks=2 --ntasks-per-node=1"),
        ({"processes": 2}, 2, ""),
    ],
)
def test_processes_of_a_configuration(settings, processes, launcher):
    plan = Plan({"pretrain": settings})
    assert (plan.training.processes, plan.training.launcher) == (processes, launcher)
