"""What `import anatcl` offers, how little it loads, and what is said when the authors' package lies over it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import anatcl
from anatcl.base.errors import InputError
from anatcl.mixed import refuse_mixed, replaced, why_mixed
from anatcl.models import build_model
from anatcl.pretrain.bundle import save_encoder

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
THEIRS = '__version__ = "0.0.2"\n\nfrom anatcl import models\nfrom anatcl.anatcl import AnatCL'


@pytest.fixture
def bundle(tmp_path):
    shape = {"shape": [20, 22, 18], "map": "vbm"}
    save_encoder(tmp_path / "b", build_model("resnet-tiny"), {"architecture": "resnet-tiny", "input": shape})
    return tmp_path / "b"


def test_importing_it_loads_nothing_heavy():
    code = """
    import sys, anatcl
    assert anatcl.__version__ and not {"torch", "pandas", "numpy", "pydantic"} & set(sys.modules)
    assert {"load_encoder", "embed", "evaluate", "losses", "METHODS", "AnatCL"} <= set(dir(anatcl))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'embedd'"):
        anatcl.embedd  # noqa: B018


@pytest.mark.parametrize("number", range(len(PIECES)))
def test_the_page_runs(number, bundle):
    names = {"bundle": bundle}
    exec(PIECES[number], names)
    if number == 0:
        assert names["loss"].ndim == 0 and names["z"].grad.isfinite().all()
    if number == 1:
        assert names["embeddings"].shape == (2, 64)
    if number == 2:
        mae = names["scores"].set_index("metric").loc["mae"]
        assert mae["low"] <= mae["value"] <= mae["high"] and mae["value"] < 12


def test_there_are_three_pieces():
    assert len(PIECES) == 3 and "y-aware" in anatcl.METHODS


def unit(rows: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, 8, generator=torch.manual_seed(0)), dim=1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"age": torch.rand(6)}, "needs measures=.*participants, regions, measures"),
        ({"measures": torch.rand(6, 5, 3)}, "needs age=.*in years"),
        ({"measures": torch.rand(4, 5, 3), "age": torch.rand(6)}, "measures has 4 rows, and z has 6"),
        ({"measures": torch.rand(6, 15), "age": torch.rand(6)}, "must be .participants, regions, measures."),
        ({"measures": torch.rand(6, 5, 3), "age": torch.full((6,), float("nan"))}, "missing or not finite"),
        ({"measures": torch.rand(6, 5, 3), "age": torch.rand(6), "sex": torch.rand(6)}, "sex= is not a label"),
    ],
)
def test_wrong_labels_are_refused_in_a_sentence(labels, words):
    with pytest.raises(ValueError, match=words):
        anatcl.losses.AnatCLLocal()(unit(6), **labels)


def test_labels_by_name_give_the_loss_of_training():
    torch.manual_seed(0)
    z, raw = unit(12), {"measures": torch.rand(6, 5, 3), "age": torch.rand(6) * 50}
    for name in ("AnatCLLocal", "AnatCLGlobal", "YAware"):
        loss = getattr(anatcl.losses, name)()
        found = loss(z, **raw)
        torch.testing.assert_close(found, loss(z, loss.fit(raw))["loss"])
    with pytest.raises(ValueError, match="needs covariates="):
        anatcl.losses.AnatCLZ()(z, **raw)
    with pytest.raises(ValueError, match="length 1"):
        loss(2 * z, **raw)
    with pytest.raises(AttributeError, match="AnatCLLocal"):
        anatcl.losses.Nothing  # noqa: B018


def test_wrong_features_are_refused_in_a_sentence():
    people = pd.DataFrame({"age": np.arange(30.0)})
    with pytest.raises(InputError, match="29 rows of features and 30 rows of people"):
        anatcl.evaluate(np.zeros((29, 2)), people, "age")
    with pytest.raises(InputError, match=r"not \(rows, features\)"):
        anatcl.evaluate(np.zeros(30), people, "age")


def test_the_authors_class(tmp_path):
    torch.manual_seed(0)
    network = build_model("resnet18")
    torch.save({"model": network.state_dict()}, tmp_path / "weights.pth")
    model = anatcl.AnatCL(descriptor="local", fold=3, weights=tmp_path / "weights.pth").eval()
    x = torch.rand(1, 1, 20, 22, 18)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), network.eval().encoder(x))  # axes as given, as theirs takes them
        model.use_head = True
        assert model(x).shape == (1, 128)
    assert {k.split(".")[1] for k in model.state_dict()} == {"encoder", "head"}
    with pytest.raises(InputError, match=r"descriptor is 'globl'.*'global'"):
        anatcl.AnatCL(descriptor="globl", pretrained=False)


def test_files_of_two_packages_are_noticed(tmp_path):
    package = tmp_path / "anatcl"
    (package / "models").mkdir(parents=True)
    for name in ("__init__.py", "models/__init__.py"):
        (package / name).write_text((ROOT / "anatcl" / name).read_text())
    assert why_mixed(package) == "" and why_mixed() == ""
    (package / "anatcl.py").write_text("class AnatCL: pass\n")
    assert replaced(package) == [] and "among our files" in why_mixed(package)
    refuse_mixed(package)  # what was replaced is none of ours yet
    (package / "__init__.py").write_text(THEIRS)
    assert replaced(package) == ["__init__.py"]
    with pytest.raises(ImportError, match=r"has replaced __init__\.py\. Run: pip uninstall"):
        refuse_mixed(package)


def test_the_reference_is_in_step():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from make_api import PAGE as file
        from make_api import page
    finally:
        sys.path.remove(str(ROOT / "docs"))
    assert file.read_text(encoding="utf-8") == page(), "make it anew: python docs/make_api.py"
