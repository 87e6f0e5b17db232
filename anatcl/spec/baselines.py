"""Baselines of the user's own: which class learns, and from which columns of the measures."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from anatcl.base.named import named, plugins
from anatcl.spec.names import BASELINES, REGIONAL
from anatcl.spec.section import Section, one_of

GROUP = "anatcl.baselines"  # entry points of installed packages


class OwnBaseline(Section):
    """A learner of the user's own, on measures."""

    baseline: Annotated[str, Field(min_length=1), AfterValidator(named)] = Field(
        description="module:Class or file.py:Class (or a function), see extend.md"
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of it, beside the task's kind")
    columns: str = Field(
        REGIONAL,
        description=f"features: {', '.join(BASELINES)}, all, or a regular expression of columns of measures.tsv",
    )

    def as_text(self) -> str:
        """JSON text, as the step ``evaluate task`` takes it."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def baseline_name(name: str) -> str:
    """A shipped baseline, or one that an installed package offers."""
    return str(one_of(name, (*BASELINES, *plugins(GROUP))))
