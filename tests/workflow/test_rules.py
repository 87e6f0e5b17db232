"""Every rule is whole: docstring, log, benchmark, environment, threads, resources, one command with one flag a line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = {
    match["name"]: match["body"]
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for match in re.finditer(r"^rule (?P<name>\w+):\n(?P<body>(?:    .*\n|\n)+)", file.read_text(), re.MULTILINE)
}
COMMON = (ROOT / "rules" / "common.smk").read_text()
JOBS = sorted(set(RULES) - {"bids", "participant"})  # these two are targets only


def test_rules_are_found():
    assert len(JOBS) > 15


@pytest.mark.parametrize("name", JOBS)
def test_a_rule_is_whole(name):
    body = RULES[name]
    assert re.match(r'\s+"""[A-Z].+\."""', body), "no docstring"
    for part in ("input", "output", "log", "conda", "threads", "resources", "params", "shell"):
        if (name, part) != ("template", "input"):
            assert re.search(rf"^    {part}:", body, re.MULTILINE), f"no {part}"
    # `runtime` sums the benchmarks up and has none of its own.
    assert name == "runtime" or re.search(r"^    benchmark:", body, re.MULTILINE), "no benchmark"
    assert "        code=" in body and "mem_mb" in body and "runtime" in body
    assert "lambda" not in body and "run:" not in body


@pytest.mark.parametrize("name", JOBS)
def test_a_rule_is_one_quoted_command(name):
    command = RULES[name].partition("    shell:")[2]
    assert command.count("python -m anatcl ") == 1
    paths = re.findall(r"\{(?:input|output|log)(?:\.\w+)?(:q)?\}", command)
    assert paths and all(quoted == ":q" for quoted in paths)


@pytest.mark.parametrize("name", JOBS)
def test_the_digest_of_a_rule_is_of_the_step_that_it_runs(name):
    command = re.search(r"python -m anatcl (\w+) ([\w-]+)", RULES[name])
    given = re.search(r"^        code=(.+),$", RULES[name], re.MULTILINE)
    text = given[1]
    if text.isidentifier():  # a function of the wildcards
        text = re.search(rf"^def {text}\(.*?(?=^def |^@)", COMMON, re.MULTILINE | re.DOTALL)[0]
    assert re.search(r'code_digest\(\s*"(\w+)", "([\w-]+)"', text).groups() == command.groups()


def test_all_environments_exist_and_parse():
    rattler = pytest.importorskip("rattler", reason="py-rattler is not installed")
    texts = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./envs/([\w-]+\.yaml)"', texts))
    assert named | {"main.yaml"} == {path.name for path in (ROOT / "envs").glob("*.yaml")}
    for name in sorted(named | {"main.yaml"}):
        content = yaml.safe_load((ROOT / "envs" / name).read_text())
        for spec in content["dependencies"]:
            if isinstance(spec, str):
                assert rattler.MatchSpec(spec).name is not None


def test_environments_agree_with_the_constraints():
    """By minor version, with conda; by every digit, with pip."""
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pins = {name.lower(): version.partition("+")[0] for name, version in pins.items()}
    same = {"matplotlib-base": "matplotlib", "pytorch-gpu": "torch", "pytorch": "torch"}
    checked = 0
    for path in (ROOT / "envs").glob("*.yaml"):
        for spec in yaml.safe_load(path.read_text())["dependencies"]:
            for line in spec["pip"] if isinstance(spec, dict) else [spec]:
                name, version = re.match(r"([\w.-]+)[ =]*([\d.]*)", str(line)).groups()
                pinned = pins.get(same.get(name.lower(), name.lower()))
                if pinned and version and name != "python":
                    same_minor = f"{pinned}.".startswith(f"{version.rstrip('.')}.")
                    assert same_minor, f"{path.name}: {line}, but constraints.txt has {pinned}"
                    checked += 1
    assert checked > 10


def test_the_snakefile_is_a_table_of_contents():
    assert len((ROOT / "workflow" / "Snakefile").read_text().splitlines()) <= 40


def test_an_image_holds_no_developers_tools():
    [extras] = re.findall(r"\$\(MAKE\) install EXTRAS=(\S+)", (ROOT / "Makefile").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"workflow"} < set(extras.split(",")) <= set(project) - {"dev", "docs"}
    brought = {need for extra in extras.split(",") for need in project[extra]}
    assert not brought & set(project["dev"])


def test_containers_run_the_commands_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("Dockerfile", "apptainer.def"):
        text = (ROOT / name).read_text()
        called = re.findall(r"(?:RUN|^ +)\s*make (\S+)", text, re.MULTILINE)
        assert called == ["install-image"] and set(called) <= targets
        assert "pip " not in text and "python -m anatcl run" in re.sub(r'[",]+ *', " ", text).replace("  ", " ")
