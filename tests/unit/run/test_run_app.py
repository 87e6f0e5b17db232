"""The BIDS-App door: what is asked for reaches Snakemake, whatever the names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anatcl.base.errors import InputError
from anatcl.cli.main import _split, build_parser
from anatcl.run.bids_app import megabytes, options
from anatcl.spec.layers import resolve


def asked(words: list[str]) -> dict:
    """The configuration that the options name."""
    file = words[words.index("--configfile") + 1]
    return json.loads(Path(file).read_text())


def test_a_participant_is_a_target_with_a_configuration(tmp_path: Path) -> None:
    bids = tmp_path / "it's a $(name)"
    bids.mkdir()
    words = options(bids, tmp_path / "out", "participant", ["01", "sub-02"], ["1"], 4, further=["-n"])
    assert words[:5] == ["participant", "--directory", str(tmp_path / "out"), "--cores", "4"]
    assert words[-1] == "-n"
    values = asked(words)
    assert values["bids_dir"] == str(bids)
    assert values["participants"] == {"include": ["sub-01", "sub-02"]}
    assert values["bids"] == {"entities": {"session": ["1"]}}


def test_the_group_is_everything_and_own_files_win(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("participants: {include: [sub-09]}\n")
    words = options(tmp_path, tmp_path / "out", "group", ["01"], further=["--configfile", str(own), "--quiet"])
    assert words[0] == "--directory"
    files = words[words.index("--configfile") + 1 : words.index("--quiet")]
    assert resolve(map(Path, files), {}, tmp_path)["participants"] == {"include": ["sub-09"]}


def test_each_question_has_a_file_of_its_own(tmp_path: Path) -> None:
    first = options(tmp_path, tmp_path / "out", "participant", ["01"])
    again = options(tmp_path, tmp_path / "out", "participant", ["sub-01"])
    other = options(tmp_path, tmp_path / "out", "participant", ["02"])
    assert first == again != other


def test_a_dataset_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        options(tmp_path / "nowhere", tmp_path / "out", "group")


def test_what_stands_after_the_dashes_is_snakemakes() -> None:
    words, further = _split(["run", "bids", "out", "group", "--participant-label", "1", "2", "--", "-n", "--", "x"])
    args = build_parser().parse_args(words)
    assert (args.bids_dir, args.out_dir, args.level) == ("bids", "out", "group")
    assert args.participant_label == ["1", "2"]
    assert further == ["-n", "--", "x"]
    assert _split(["bids", "index", "--"]) == (["bids", "index", "--"], [])
    assert build_parser().parse_args(["run"]).bids_dir is None
    with pytest.raises(SystemExit):
        build_parser().parse_args(["run", "bids", "out", "everybody"])


@pytest.mark.parametrize(
    "words",
    [
        "bids out participant --participant-label 01 02 --session-label 1 --n-cpus 4 --mem 8G -w tmp",
        "bids out participant --participant_label 01 02 --session_label 1 --n_cpus 4 --mem_mb 8G --work_dir tmp",
        "bids out participant --participant_label 01 02 --session-label 1 --nprocs 4 --mem-mb 8G --work-dir tmp",
        "--nprocs 4 -w tmp --mem 8G bids out participant --session_label 1 --participant-label 01 02",
    ],
)
def test_words_of_other_bids_apps_are_understood(words: str) -> None:
    args = build_parser().parse_args(["run", *words.split()])
    assert (args.bids_dir, args.out_dir, args.level) == ("bids", "out", "participant")
    assert (args.participant_label, args.session_label) == (["01", "02"], ["1"])
    assert (args.n_cpus, args.mem, args.work_dir) == (4, "8G", "tmp")


@pytest.mark.parametrize(
    ("text", "amount"), [("8000", 8000), ("8G", 8000), ("8 gb", 8000), ("1.5g", 1500), ("500M", 500), ("2T", 2_000_000)]
)
def test_memory_is_a_limit_of_all_jobs(text: str, amount: int, tmp_path: Path) -> None:
    assert megabytes(text) == amount
    words = options(tmp_path, tmp_path / "out", "group", memory=text)
    assert words[words.index("--resources") + 1] == f"mem_mb={amount}"


@pytest.mark.parametrize("text", ["", "much", "-8G", "8X", "0", "10K0"])
def test_what_is_no_memory_is_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"--mem.*8G"):
        megabytes(text)
