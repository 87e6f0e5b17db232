"""What a loss file declares of its method is read by syntax, refused by one sentence, and agrees with the class."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from anatcl.base.errors import InputError
from anatcl.spec.methods import declared_methods, declared_references
from anatcl.spec.training import Options

GOOD = "METHOD = {'name': 'mine', 'label': 'Mine', 'order': 5, 'loss': 'Mine'}\n"


def declare(folder: Path, text: str, name: str = "mine.py") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_shipped_methods_are_complete_and_in_order() -> None:
    found = declared_methods()
    assert list(found)[:3] == ["anatcl-global", "anatcl-local", "anatcl-z"] and list(found)[-1] == "untrained"
    assert len({one.order for one in found.values()}) == len({one.label for one in found.values()}) == len(found)
    shared = yaml.safe_load(Path("anatcl/report/records/references.yaml").read_text(encoding="utf-8"))
    own = declared_references()
    assert not set(shared) & set(own), "a reference stands twice"
    for one in found.values():
        assert set(one.cite) <= set(shared) | set(own)
        assert bool(one.sentence) == bool(one.loss)
        assert not one.sentence or one.sentence.endswith(".")


def test_every_declared_option_is_a_parameter_of_the_loss_and_takes_the_value() -> None:
    from anatcl.pretrain.methods import METHODS, make_loss

    options = Options(temperature=0.3, rank_temperature=3.0, age_sigma=4.0, age_bin=5.0, lambda_=0.5, alpha_age=0.25)
    for one in declared_methods().values():
        assert (METHODS[one.name].loss is None) == (not one.loss)
        if one.loss:
            loss = make_loss(one, options)
            assert set(one.options) <= set(inspect.signature(type(loss)).parameters)
            assert {p: getattr(loss, p) for p in one.options} == {
                p: getattr(options, o) for p, o in one.options.items()
            }


def test_a_file_is_read_without_being_run(tmp_path: Path) -> None:
    folder = declare(tmp_path / "losses", "raise SystemExit('run')\n" + GOOD)
    assert list(declared_methods(folder)) == ["mine"] and declared_methods(folder)["mine"].module == "mine"
    folder = declare(tmp_path / "words", "METHOD: dict = dict(name='mine', label='M', order=1, cite=('a', 'b'))\n")
    assert declared_methods(folder)["mine"].cite == ("a", "b")
    assert not declared_methods(declare(tmp_path / "none", "OTHER = {'name': 'x'}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "METHOD = {'name': 'a', 'label': 'A', 'order': 1, 'lable': 'B'}",
            "'lable'. Did you mean 'label'",
        ),
        ("METHOD = {'name': 'a', 'label': 'A'}", "order"),
        ("METHOD = {'name': 'a b', 'label': 'A', 'order': 1}", "name"),
        ("METHOD = {'name': 'a', 'label': 'A', 'order': '1'}", "order"),
        ("METHOD = {'name': 'a', 'label': 'A', 'order': 1, 'augment': 'no'}", "augment"),
        ("METHOD = {'name': 'a', 'label': 'A', 'order': 1, 'references': {'k': {'short': 'X'}}}", "bibtex"),
        ("METHOD = {'name': 'a', 'label': 'A', 'order': 1 + n}", "not a dictionary of literals"),
        ("METHOD = {", "line 1 is not valid Python"),
        ("METHOD = ['a']", "not a dictionary of literals"),
    ],
)
def test_a_bad_declaration_is_one_sentence_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    folder = declare(tmp_path / "losses", text, "bad.py")
    with pytest.raises(InputError, match=r"bad\.py") as caught:
        declared_methods(folder)
    assert words in str(caught.value)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = declare(tmp_path / "losses", GOOD)
    declare(folder, GOOD, "other.py")
    with pytest.raises(InputError, match=r"mine\.py and other\.py"):
        declared_methods(folder)
