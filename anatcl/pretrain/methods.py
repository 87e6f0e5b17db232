"""Pretraining methods by their names in the configuration."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anatcl.base.errors import InputError
from anatcl.base.named import call_named
from anatcl.base.words import nearest
from anatcl.losses.base import Loss
from anatcl.losses.joint import Joint
from anatcl.spec.methods import Declaration, declared_methods
from anatcl.spec.training import Options, Own


@dataclass(frozen=True)
class Method:
    """One way to pretrain.

    Attributes
    ----------
    loss : callable or None
        Makes the loss from the options; None for `untrained`.
    views : int
        Views of each subject in a batch.
    augment : bool
        Whether views are augmented unless the options say otherwise.
    """

    loss: Callable[[Options], Loss] | None
    views: int = 2
    augment: bool = False


def make_loss(declared: Declaration, options: Options) -> Loss:
    """The loss of a method, made from the options that it declares.

    Raises
    ------
    InputError
        The file lacks the class, or the options have no such field.
    """
    module = importlib.import_module(f"anatcl.losses.{declared.module}")
    kind = getattr(module, declared.loss, None)
    if not (isinstance(kind, type) and issubclass(kind, Loss)):
        raise InputError(
            f"METHOD names the loss {declared.loss!r}, which is not a Loss in this file.",
            module.__file__,
            "Correct the name.",
        )
    unknown = sorted(set(declared.options.values()) - set(Options.names()))
    if unknown:
        raise InputError(
            f"METHOD takes the pretraining option {unknown[0]!r}, which does not exist.",
            module.__file__,
            f"Known: {', '.join(Options.names())}.",
        )
    made: Loss = kind(**{parameter: getattr(options, name) for parameter, name in declared.options.items()})
    return made


def _method(declared: Declaration) -> Method:
    loss = (lambda options: make_loss(declared, options)) if declared.loss else None
    return Method(loss, declared.views, declared.augment)


METHODS: dict[str, Method] = {name: _method(declared) for name, declared in declared_methods().items()}


def find_method(name: str, options: Options | None = None) -> Method:
    """Return method `name`, declared or a joint objective of the options, or raise InputError that lists them."""
    joint, own = (options.joint, options.own) if options else ({}, {})
    if name in joint:
        return _joint(joint[name])
    if name in own:
        return _own(own[name])
    if name not in METHODS:
        raise InputError(f"pretraining method {name!r} is unknown.", remedy=nearest(name, [*METHODS, *joint, *own]))
    return METHODS[name]


def _own(told: Own) -> Method:
    """A loss of the user's own."""

    def loss(options: Options) -> Loss:
        made = call_named(told.loss, told.arguments)
        if not isinstance(made, Loss):
            remedy = "Derive it from anatcl.losses.base.Loss, or see extend.md."
            raise InputError(f"{told.loss} is not a Loss of this package.", None, remedy)
        return made

    return Method(loss, told.views, told.augment)


def _joint(weights: Mapping[str, float]) -> Method:
    """The weighted sum of some methods' losses, with as many views as one of them asks for, augmented if one does."""
    parts = {name: METHODS[name] for name in weights}

    def loss(options: Options) -> Loss:
        return Joint({name: part.loss(options) for name, part in parts.items() if part.loss}, weights)

    return Method(loss, max(part.views for part in parts.values()), any(part.augment for part in parts.values()))
