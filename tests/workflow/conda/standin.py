"""A stand-in for conda and its channels, for tests without a network: what pip installed here, told apart again.

``make(root)`` writes two channels (``root/conda-forge``, ``root/bioconda``) and the programs ``root/bin/conda`` and
``root/bin/activate``. Solving and installing are done by py-rattler, as real tools do them. The packages hold no code:
each has a ``.pth`` file that names a folder of links to one installed distribution. Versions and dependencies are those
of the distribution, but for Python, which calls itself 3.11, as the environments ask.

The Python of an environment writes a line for each start to ``$STANDIN_LOG``: its prefix and its words.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

SITE = Path(sysconfig.get_path("purelib"))
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PREFIX_SITE = f"lib/{VERSION}/site-packages"
PLATFORM = "linux-64"
NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "snakemake": "snakemake-minimal"}
BIOCONDA = re.compile("snakemake")
BUILDS = {"pytorch": "cpu_0"}
ANTS = (
    "antsRegistration",
    "antsApplyTransforms",
    "N4BiasFieldCorrection",
    "Atropos",
    "KellyKapowski",
    "CreateJacobianDeterminantImage",
)
PROGRAM = Path(__file__).resolve().parents[3] / "anatcl" / "preprocess" / "ants_program.py"
LOGS = """import os, sys
if "STANDIN_LOG" in os.environ:
    with open(os.environ["STANDIN_LOG"], "a") as log:
        log.write(sys.prefix + "\\t" + " ".join(sys.orig_argv[1:5]) + "\\n")
"""


def canonical(name: str) -> str:
    """A distribution's name as the index of pip has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, Distribution]:
    """Distributions that are installed here, but for this one."""
    found = {canonical(d.metadata["Name"]): d for d in distributions(path=[str(SITE)])}
    return {name: d for name, d in found.items() if name != "anatcl-workflow"}


def needs(dist: Distribution, among: dict[str, Distribution]) -> list[str]:
    """Names of the installed distributions that one requires."""
    asked = [Requirement(text) for text in dist.requires or ()]
    asked = [need for need in asked if need.marker is None or need.marker.evaluate({"extra": ""})]
    return sorted({canonical(need.name) for need in asked} & set(among))


# -- channels -----------------------------------------------------------------------------------------------------


def link(name: str, dist: Distribution, root: Path) -> Path:
    """A folder of links to the modules of one distribution."""
    links = root / "links" / name
    links.mkdir(parents=True)
    tops = {Path(file).parts[0] for file in dist.files or ()} - {"..", "__pycache__"}
    for top in tops:
        if (SITE / top).exists():
            (links / top).symlink_to(SITE / top)
    return links


def package(root: Path, name: str, version: str, depends: list[str], files: dict[str, str | Path]) -> None:
    """Write a conda package; a path among its files becomes a link."""
    channel = root / ("bioconda" if BIOCONDA.match(name) else "conda-forge") / PLATFORM
    channel.mkdir(parents=True, exist_ok=True)
    build = BUILDS.get(name, "0")
    index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": depends}
    index |= {"subdir": PLATFORM, "arch": "x86_64", "platform": "linux", "timestamp": 0}
    about = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": [entry(p, c) for p, c in files.items()]}),
        "info/files": "".join(f"{path}\n" for path in files),
    }
    with tarfile.open(channel / f"{name}-{version}-{build}.tar.bz2", "w:bz2", compresslevel=1) as tar:
        for path, content in (files | about).items():
            add(tar, path, content)


def entry(path: str, content: str | Path) -> dict[str, Any]:
    """What a package says of one of its files."""
    if isinstance(content, Path):
        return {"_path": path, "path_type": "softlink"}
    data = content.encode()
    digest = hashlib.sha256(data).hexdigest()
    return {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(data)}


def add(tar: tarfile.TarFile, path: str, content: str | Path) -> None:
    """Add a file or a link to an archive."""
    info = tarfile.TarInfo(path)
    if isinstance(content, Path):
        info.type, info.linkname = tarfile.SYMTYPE, str(content)
        tar.addfile(info)
        return
    data = content.encode()
    info.size, info.mode = len(data), 0o755 if path.startswith("bin/") else 0o644
    tar.addfile(info, io.BytesIO(data))


def make(root: Path) -> Path:
    """Write channels and programs below `root`; return the folder of the programs."""
    here = installed()
    for name, dist in here.items():
        links = link(name, dist, root)
        depends = ["python", *(NAMES.get(need, need) for need in needs(dist, here))]
        version = dist.version.partition("+")[0]
        package(root, NAMES.get(name, name), version, depends, {f"{PREFIX_SITE}/{name}.pth": f"{links}\n"})
    interpreter = Path(os.path.realpath(sys.executable))
    package(
        root,
        "python",
        "3.11.0",
        [],
        {"bin/python": interpreter, "bin/python3": interpreter, f"bin/{VERSION}": interpreter}
        | {"pyvenv.cfg": f"home = {interpreter.parent}\ninclude-system-site-packages = false\n"}
        | {f"{PREFIX_SITE}/sitecustomize.py": LOGS},
    )
    start = f'exec "{sys.executable}" -P "{PROGRAM}"'
    said = '[ "$1" = --version ] && echo "ANTs Version: stand-in" && exit'
    programs = {f"bin/{name}": f'#!/bin/sh\n{said}\n{start} {name} "$@"\n' for name in ANTS}
    package(root, "ants", "2.6.5", ["python"], programs)
    torch = here["torch"].version.partition("+")[0]
    package(root, "pytorch-gpu", torch, [f"pytorch {torch}", "__cuda"], {})
    package(root, "cuda-version", "12.8", [], {})
    index(root)
    return write_programs(root)


def index(root: Path) -> None:
    """Write the index of both channels."""
    from rattler.index import index_fs

    for channel in ("conda-forge", "bioconda"):
        asyncio.run(index_fs(root / channel))


def write_programs(root: Path) -> Path:
    """Write ``conda`` and ``activate``."""
    programs = root / "bin"
    programs.mkdir()
    conda = programs / "conda"
    conda.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{root}" "$@"\n')
    conda.chmod(0o755)
    activate = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"; unset PYTHONPATH PYTHONHOME\n'
    (programs / "activate").write_text(activate)
    return programs


# -- the program --------------------------------------------------------------------------------------------------


def conda(root: Path, words: list[str]) -> None:
    """The calls that Snakemake makes; any other one is an error."""
    if words[:1] == ["info"]:
        print(json.dumps({"platform": PLATFORM, "conda_prefix": str(root), "root_prefix": str(root)}))
    elif words == ["--version"]:
        print("conda 26.9.4")
    elif words[:1] == ["config"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif words[:2] == ["env", "create"]:
        create(root, Path(words[words.index("--file") + 1]), Path(words[words.index("--prefix") + 1]))
    elif words[:1] != ["clean"]:
        sys.exit(f"the stand-in has no 'conda {' '.join(words)}'")


def create(root: Path, file: Path, prefix: Path) -> None:
    """Make an environment from its file. Every channel is asked for, as conda does since 26.7."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    specs = [spec for spec in content["dependencies"] if isinstance(spec, str)]
    asyncio.run(install(root, content["channels"], specs, prefix))
    for spec in (spec for group in content["dependencies"] if isinstance(group, dict) for spec in group["pip"]):
        pip(root, Requirement(spec), prefix)


async def install(root: Path, channels: list[str], specs: list[str], prefix: Path) -> None:
    """Solve and install."""
    import rattler

    here = rattler.VirtualPackage.detect(overrides=rattler.VirtualPackageOverrides.from_env())
    found = [rattler.Channel((root / channel).as_uri()) for channel in channels]
    records = await rattler.solve(found, specs, platforms=[PLATFORM, "noarch"], virtual_packages=here)
    await rattler.install(records, prefix, cache_dir=root / "pkgs", show_progress=False)


def pip(root: Path, spec: Requirement, prefix: Path) -> None:
    """Add an installed distribution and what it requires, as pip would from its index."""
    here = installed()
    name = canonical(spec.name)
    if name not in here or not spec.specifier.contains(here[name].version):
        sys.exit(f"the stand-in's pip has no {spec}")
    todo, done = [name], set()
    while todo:
        done.add(name := todo.pop())
        (prefix / PREFIX_SITE / f"{name}.pth").write_text(f"{root / 'links' / name}\n")
        todo += [need for need in needs(here[name], here) if need not in done]


def run(prefix: Path, code: str) -> str:
    """What a line of Python prints in an environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [prefix / "bin" / "python", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=clean).stdout.strip()


if __name__ == "__main__":
    conda(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # py-rattler's threads may outlive the interpreter that they call: now and then a segmentation fault
