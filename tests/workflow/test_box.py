"""The container's surroundings without a container engine: what the image promises holds in a box of namespaces.

The box has a read-only root, no network, an empty /tmp, a user in no table, and three mounts: the environment, the
dataset (read-only) and the output folder.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
UID = "54321"
# The sources are bound before /tmp is covered, since they may lie below it.
BUILD = """
set -e
mount --rbind / {root}
mount -t tmpfs places {root}/mnt
mkdir {root}/mnt/env {root}/mnt/app {root}/mnt/data {root}/mnt/out
for pair in {environment}:env {repository}:app {data}:data; do
  mount --rbind "${{pair%:*}}" {root}/mnt/"${{pair##*:}}"
  mount -o remount,bind,ro {root}/mnt/"${{pair##*:}}"
done
mount --bind {out} {root}/mnt/out
mount -o remount,bind,ro {root}
mount -t tmpfs temporary {root}/tmp
exec unshare --root={root} --wd=/mnt/out --map-user={uid} --map-group={uid} "$@"
"""
Box = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated person at 5 mm."""
    folder = tmp_path_factory.mktemp("people") / "bids"
    command = [sys.executable, "-m", "anatcl", "simulate", str(folder), "--participants", "1", "--voxel-mm", "5"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture
def box(repository: Path, people: Path, tmp_path: Path) -> Box:
    """Run words in the box."""
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    out.mkdir(mode=0o777)
    named = {"root": root, "environment": sys.prefix, "repository": repository, "data": people, "out": out}
    script = BUILD.format(uid=UID, **{name: shlex.quote(str(path)) for name, path in named.items()})
    box = ["unshare", "--map-root-user", "--mount", "--net", "sh", "-c", script, "box"]

    def run(*words: str) -> subprocess.CompletedProcess:
        environment = {"PATH": "/mnt/env/bin:/usr/bin:/bin", "PYTHONPATH": "/mnt/app", "OMP_NUM_THREADS": "1"}
        return subprocess.run([*box, *words], env=environment, capture_output=True, text=True, check=False)

    try:
        tried = run("true")
    except FileNotFoundError:
        pytest.skip("no program 'unshare'")
    if tried.returncode:
        pytest.skip(f"namespaces are not allowed here: {tried.stderr.strip()}")
    return run


def test_the_box_is_closed(box: Box) -> None:
    assert box("touch", "/usr/file", "/mnt/data/file", "/mnt/app/file").stderr.count("Read-only file system") == 3
    assert box("touch", "/mnt/out/file", "/tmp/file").returncode == 0
    assert box("id", "-u").stdout.strip() == UID
    names = [line.partition(":")[0].strip() for line in box("cat", "/proc/net/dev").stdout.splitlines()[2:]]
    assert set(names) <= {"lo", "sit0", "tunl0", "ip6tnl0"}, "no way out"


def test_the_app_measures_one_scan_as_a_plain_run_does(
    box: Box, people: Path, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "tiny.json").write_bytes((ROOT / "tests" / "configs" / "tiny.json").read_bytes())
    words = ["participant", "--participant-label", "001", "--n-cpus", "1", "--", "--config", "preprocess={recipe: %s}"]
    app = ["python", "-m", "anatcl", "run"]
    done = box(*app, "/mnt/data", "/mnt/out", *[w.replace("%s", "/mnt/out/tiny.json") for w in words])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    plain, recipe = tmp_path / "plain", str(tmp_path / "out" / "tiny.json")
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "anatcl", "run", str(people), str(plain), *[w.replace("%s", recipe) for w in words]]
    subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True)
    tables = sorted(p.relative_to(plain) for p in plain.rglob("*_measures.tsv"))
    assert len(tables) == 1
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / tables[0], sep="\t"), pd.read_csv(plain / tables[0], sep="\t")
    )
