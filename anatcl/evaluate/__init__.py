"""Frozen features to tables: tasks, leak-free protocols, probes, metrics, intervals, tests.

Needs only numpy, pandas, scipy, scikit-learn, PyYAML, and torch where an encoder is run.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """The package itself, which can be called: ``anatcl.evaluate(features, people, task)``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # By name: what the library offers is no part of the steps of this package, nor of their digests.
        return importlib.import_module("anatcl.api").evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
