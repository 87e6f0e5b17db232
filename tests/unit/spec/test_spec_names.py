"""Words that a user may write are those that the code knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anatcl.base.words import near, nearest
from anatcl.spec import names
from anatcl.spec.layout import SCAN_PATTERN


def test_encoders_and_methods_are_found_without_importing_them():
    from anatcl.models.registry import ENCODERS
    from anatcl.pretrain.methods import METHODS

    assert names.encoders() == tuple(ENCODERS)
    assert set(names.methods()) == set(METHODS)


def test_who_needs_ages_is_what_the_losses_say():
    from anatcl.pretrain.methods import METHODS
    from anatcl.spec.training import Options

    for alpha in (0.0, 1.0):
        for name, method in METHODS.items():
            loss = method.loss(Options(alpha_age=alpha)) if method.loss else None
            assert names.needs_age(name, alpha) == ("age" in (loss.needs if loss else ())), (name, alpha)


@pytest.mark.parametrize("kind", names.METRICS)
def test_metrics_are_those_that_are_computed(kind):
    from anatcl.evaluate.statistics import detail
    from anatcl.evaluate.statistics.metrics import evaluate

    y = np.tile([0.0, 1.0], 20)
    score = np.linspace(0.1, 0.9, 40)
    table = pd.DataFrame({"y_true": y, "y_pred": y[::-1], "score": score, "prob": score, "fold": 0, "y_corrected": y})
    table = table.assign(site=np.array(["a", "b"])[np.arange(40) // 2 % 2], age=np.arange(40.0))
    found = evaluate(table, kind, np.ones((1, 40))) | detail.evaluate(table, kind, np.ones((1, 40)))
    assert set(names.METRICS[kind]) <= set(found)


def test_transforms_are_those_that_are_told_about():
    from anatcl.pretrain import augment
    from anatcl.spec import augmentation

    assert list(augment.TRANSFORMS) == list(augmentation.TRANSFORMS)
    for name, kind in augment.TRANSFORMS.items():
        assert issubclass(kind, augmentation.TRANSFORMS[name])
        assert kind().model_dump() == augmentation.TRANSFORMS[name]().model_dump()


@pytest.mark.parametrize("scan", ["sub-a+b/anat/sub-a+b", "sub-1/ses-x+1/anat/sub-1_ses-x+1_run-2"])
def test_labels_may_contain_a_plus(scan):
    import re

    assert re.fullmatch(SCAN_PATTERN, scan) and not re.fullmatch(SCAN_PATTERN, f"{scan}_space-MNI")


def test_nearest_names_what_is_like_it_or_all():
    assert near("Simclr", ["simclr", "supcon"]) == ["simclr"]
    assert nearest("x", ["b", "a"]) == "Known: a, b."
    assert nearest("resnet", ["resnet18", "vgg"]).startswith("Did you mean 'resnet18'")
