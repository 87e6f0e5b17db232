"""Pretraining methods by the word that stands in the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anatcl.base.errors import InputError
from anatcl.losses.age_regression import AgeRegression
from anatcl.losses.anatcl_global import AnatCLGlobal
from anatcl.losses.anatcl_local import AnatCLLocal
from anatcl.losses.anatcl_z import AnatCLZ
from anatcl.losses.base import Loss
from anatcl.losses.expw import ExpW
from anatcl.losses.rank_n_contrast import RankNContrast
from anatcl.losses.simclr import SimCLR
from anatcl.losses.supcon import SupCon
from anatcl.losses.threshold import Threshold
from anatcl.losses.y_aware import YAware
from anatcl.spec.training import Options


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


def _anatomical(kind: type) -> Callable[[Options], Loss]:
    return lambda o: kind(o.temperature, o.age_sigma, o.lambda_, o.alpha_age)


METHODS: dict[str, Method] = {
    "anatcl-global": Method(_anatomical(AnatCLGlobal)),
    "anatcl-local": Method(_anatomical(AnatCLLocal)),
    "anatcl-z": Method(_anatomical(AnatCLZ)),
    "y-aware": Method(lambda o: YAware(o.temperature, o.age_sigma)),
    "expw": Method(lambda o: ExpW(o.temperature, o.age_sigma)),
    "threshold": Method(lambda o: Threshold(o.temperature, o.age_sigma)),
    "simclr": Method(lambda o: SimCLR(o.temperature), augment=True),
    "supcon": Method(lambda o: SupCon(o.temperature, o.age_bin)),
    "rank-n-contrast": Method(lambda o: RankNContrast(o.rank_temperature)),
    "age-regression": Method(lambda o: AgeRegression(), views=1),
    "untrained": Method(None),
}


def find_method(name: str) -> Method:
    """Return method `name`, or raise InputError that lists them."""
    if name not in METHODS:
        raise InputError(f"pretraining method {name!r} is unknown.", remedy=f"Choose one of {', '.join(METHODS)}.")
    return METHODS[name]
