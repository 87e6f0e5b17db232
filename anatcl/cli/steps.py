"""Where the steps of the command line begin, and the digests of the code that they run."""

from __future__ import annotations

import argparse
import functools
import importlib
from typing import Any

from anatcl.base.closure import step_digest
from anatcl.spec.methods import declared_methods


@functools.cache
def step_function(stage: str, step: str) -> tuple[str, str]:
    """Module and name of the function that ``python -m anatcl STAGE STEP`` runs.

    Raises
    ------
    KeyError
        There is no such stage or step.
    """
    parser = argparse.ArgumentParser()
    stages = parser.add_subparsers()
    importlib.import_module(f"anatcl.cli.{stage}").register(stages)
    function = _choices(stages.choices[stage])[step].get_default("function")
    return function.__module__, function.__name__


def _choices(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Parsers of the steps of a stage."""
    return next(dict(a.choices or {}) for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def code_digest(stage: str, step: str, *chosen: str) -> str:
    """Digest of the code that a step runs: what its function reaches by import.

    Parameters
    ----------
    stage, step : str
        Words of the command: ``preprocess``, ``skullstrip``.
    chosen : str
        Pretraining methods that the job chooses; their losses count, the other losses do not.
    """
    return step_digest(*step_function(stage, step), methods(), frozenset(map(loss_module, chosen)) - {""})


def methods() -> frozenset[str]:
    """Modules of the losses that a method is chosen from."""
    return frozenset(f"anatcl.losses.{declared.module}" for declared in declared_methods().values())


def loss_module(method: str) -> str:
    """Module of a method's loss; empty for no method, and for a name that none declares."""
    declared = declared_methods().get(method)
    return f"anatcl.losses.{declared.module}" if declared else ""
