"""Write docs/api.md from the docstrings: ``python docs/make_api.py``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import anatcl
from anatcl.spec.methods import declared_methods

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Reference

Made by `python docs/make_api.py` from the docstrings. Examples: [As a library](library.md).
"""


def page() -> str:
    """The page as Markdown."""
    names = ["load_encoder", "embed", "evaluate", "AnatCL"]
    objects = [(f"anatcl.{name}", _function(name)) for name in names]
    losses = [d.loss for d in declared_methods().values() if d.loss]
    objects += [(f"anatcl.losses.{name}", getattr(anatcl.losses, name)) for name in losses]
    words = ", ".join(f"`{name}`" for name in anatcl.METHODS)
    methods = f"## anatcl.METHODS\n\nNames of the pretraining methods: {words}.\n"
    return "\n".join([HEAD, *(_entry(name, found) for name, found in objects), methods])


def _function(name: str) -> Any:
    """`evaluate` is a package that can be called; its text is the function's."""
    from anatcl import api

    return getattr(api if name == "evaluate" else anatcl, name)


def _entry(name: str, found: Any) -> str:
    """A heading, the signature, and the docstring as it is."""
    signature = str(inspect.signature(found)).replace("'", "")
    return f"## {name}\n\n```python\n{name}{signature}\n```\n\n```text\n{inspect.getdoc(found)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
