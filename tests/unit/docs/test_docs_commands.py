"""Every command in README, CONTRIBUTING and docs: its program, its flags, its targets and its keys exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from anatcl.cli.main import _split, build_parser
from anatcl.evaluate.steps.table import load_spec
from anatcl.spec.config import parse
from anatcl.spec.task import task_from

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
# Programs of the system that a page may use, and whose effect is plain.
PLAIN = {"cd", "git", ".", "export", "ls", "mkdir", "pre-commit", "docker", "apptainer", "tar", "conda-pack"} | {
    "sbatch",
    "squeue",
    "scancel",
    "sinfo",
    "sacct",
    "scontrol",
}


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of the fenced blocks of one language."""
    found = [(page, match) for page in PAGES for match in FENCE.finditer(page.read_text(encoding="utf-8"))]
    return [(str(page.relative_to(ROOT)), match[3]) for page, match in found if match[2] == language]


def commands() -> list[tuple[str, str]]:
    """Page and single command, continued lines joined, comments gone."""
    found = []
    for page, text in blocks("sh"):
        open_line = ""
        for line in text.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(open_line + line, comments=True)
            except ValueError:  # a quotation goes on in the next line
                open_line += line + "\n"
                continue
            open_line = ""
            found += [(page, shlex.join(part)) for part in split_at(words, ("&&", ";", "|"))]
        assert not open_line, f"{page}: a quotation is not closed: {open_line}"
    return found


def split_at(words: list[str], marks: tuple[str, ...]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in marks:
            parts.append([])
        elif word.endswith(";"):
            parts[-1].append(word[:-1])
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def make_targets() -> set[str]:
    text = "".join(path.read_text() for path in (ROOT / "Makefile",))
    return set(re.findall(r"^([a-z][\w/.-]*):", text, re.MULTILINE))


def rule_names() -> set[str]:
    files = [*(ROOT / "rules").glob("*.smk"), ROOT / "workflow" / "Snakefile"]
    return {name for file in files for name in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)}


def check_snakemake(words: list[str]) -> None:
    """Flags by Snakemake's own parser; targets, rules, profiles and configuration by what is here."""
    from snakemake.cli import get_argument_parser

    args = get_argument_parser().parse_args(words)
    targets = [t for t in (args.targets or []) if not t.startswith("results/")]
    named = {*targets, *(args.until or []), *(args.forcerun or []), *(args.omit_from or [])}
    assert named <= rule_names(), f"no such rule: {named - rule_names()}"
    for batch in [args.batch] if args.batch else []:
        assert batch.rulename in rule_names()
    for profile in (args.workflow_profile, args.profile):
        assert not profile or not profile.startswith("workflow/") or (ROOT / profile / "config.yaml").is_file()
    config = args.config if isinstance(args.config, dict) else dict(item.split("=", 1) for item in args.config or [])
    parse({key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in config.items()})
    for file in args.configfile or []:
        assert not str(file).startswith("workflow/") or (ROOT / file).is_file()


def check_module(name: str, words: list[str]) -> None:
    """A module of this repository; its flags stand in its text."""
    file = ROOT / f"{name.replace('.', '/')}.py"
    assert file.is_file(), f"no module {name}"
    text = "".join(path.read_text() for path in {file, *file.parent.glob("*common*.py")})
    for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert f'"{flag}"' in text, f"{name} has no flag {flag}"


def check_anatcl(words: list[str]) -> None:
    own, further = _split(words)
    args, left = build_parser().parse_known_args(own)
    assert not left, f"unknown flags {left}"
    assert callable(args.function)
    if further:
        check_snakemake(further)


def plain(words: list[str]) -> list[str]:
    """Without what a shell or a reader fills in: loops, variables, dots that stand for more."""
    if words[0] in ("for", "done"):
        return []
    words = words[1:] if words[0] == "do" else words
    words = [re.sub(r"\$\w+", "1", word).replace("=...", "=x") for word in words if word not in ("...", "do")]
    return [word for word in words if word not in ("time", "nice")]


def check(words: list[str]) -> None:
    words = plain(words)
    if not words:
        return None
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    program, rest = words[0], words[1:]
    if program in ("anatcl", "anatcl-workflow"):
        return check_anatcl(rest)
    if program == "snakemake":
        return check_snakemake(rest)
    if program == "make":
        asked = {word for word in rest if "=" not in word and not word.startswith("-")}
        assert asked <= make_targets(), f"no target {asked - make_targets()}"
        return None
    if program.startswith("python"):
        if rest[:2] == ["-m", "anatcl"]:
            return check_anatcl(rest[2:])
        if rest[:2] == ["-m", "pytest"]:
            assert all((ROOT / word).exists() for word in rest[2:] if word.startswith("tests"))
            return None
        if rest[0] == "-c":
            compile(rest[1], "<docs>", "exec")
            return None
        if rest[0] == "-m":
            return None if rest[1] == "venv" else check_module(rest[1], rest[2:])
        return check_module(rest[0].removesuffix(".py").replace("/", "."), rest[1:])
    if program.removeprefix(".venv/bin/") == "pip" and rest[0] in ("install", "wheel"):
        extras = set(re.findall(r"\[([\w,-]+)\]", " ".join(rest)))
        known = set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
        assert {name for group in extras for name in group.split(",")} <= known
        return None
    if program == "conda":
        files = [ROOT / word for word in rest if word.startswith("envs/") and ">" not in rest]
        assert all(file.is_file() for file in files)
        return None
    if program.endswith("/bin/conda-unpack"):  # of an environment that conda-pack packed
        return None
    assert program in PLAIN or (program.startswith("./") and (ROOT / program).exists()), f"{program} cannot be checked"
    return None


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_exists(page: str, command: str) -> None:
    try:
        check(shlex.split(command))
    except SystemExit as end:
        assert end.code in (0, None), f"{page}: {command}: not accepted by its parser"


def test_there_are_commands() -> None:
    assert len(commands()) > 25


def test_a_wrong_command_is_found() -> None:
    for wrong in ("anatcl run --no-such-flag", "snakemake no_such_rule", "make no-such-target", "rm -rf /",
                  "snakemake -n --config pretrain={temprature: 1}", "python -m anatcl report pages"):  # fmt: skip
        with pytest.raises((AssertionError, SystemExit, Exception)):
            check(shlex.split(wrong))


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_a_piece_of_configuration_is_valid(page: str, text: str, tmp_path: Path) -> None:
    """Pieces that begin with a section of the configuration are checked against its schema; tasks and tables too."""
    values = yaml.safe_load(text)
    if "methods" in values and "scans" in values:
        (tmp_path / "table.yaml").write_text(text)
        assert load_spec(tmp_path / "table.yaml", {"results": "results"})
        return
    if isinstance(values, dict) and set(values) & {"evaluate", "preprocess", "measures", "pretrain", "report", "bids"}:
        config = parse(values)
        for task in config.evaluate.tasks:
            if isinstance(task, dict):
                task_from(task)


INLINE = re.compile(r"`((?:preprocess|measures|pretrain|evaluate|report|bids|failures|participants): \{[^`]+\})`")


@pytest.mark.parametrize(
    ("page", "piece"), [(str(p.relative_to(ROOT)), m) for p in PAGES for m in INLINE.findall(p.read_text())]
)
def test_a_piece_of_configuration_in_a_sentence_is_valid(page: str, piece: str) -> None:
    parse(yaml.safe_load(re.sub(r"\bN\b", "2", piece)))
