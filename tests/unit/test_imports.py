"""What may be imported where, and how fast the command line answers."""

from __future__ import annotations

import subprocess
import sys

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import importlib, pkgutil
for package in {packages!r}:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)
"""
IMAGING = ("ants", "nipype", "nibabel", "nilearn", "abagen", "snakemake", "bidsschematools", "matplotlib")
HEAVY = ("pandas", "torch", "sklearn", "nipype", "nibabel", "ants", "matplotlib", "pydantic", "snakemake")


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_training_and_evaluation_need_no_imaging():
    packages = ("anatcl.pretrain", "anatcl.evaluate", "anatcl.models", "anatcl.losses")
    run(BLOCK.format(blocked=IMAGING, packages=packages))


def test_help_loads_nothing_heavy():
    code = "from anatcl.cli.main import build_parser; build_parser(); import sys; "
    run(code + f"loaded = [m for m in {HEAVY!r} if m in sys.modules]; assert not loaded, loaded")


def test_the_library_never_names_snakemakes_module():
    run(BLOCK.format(blocked=("snakemake",), packages=("anatcl.plan", "anatcl.base", "anatcl.bids", "anatcl.cli")))
