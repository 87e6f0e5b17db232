"""Ships the workflow's files inside the package; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
WORKFLOW = ("config.yaml", "envs", "rules", "workflow")
# Jobs in conda environments find the library by PYTHONPATH. That cannot be the whole site-packages of another Python,
# so it is a folder with nothing in it but this package, which stands for the installed one.
STAND_IN = '''"""Stands for the installed package, and for nothing else that is installed beside it."""

from pathlib import Path

_installed = Path(__file__).resolve().parents[3]
__path__ = [str(_installed)]
exec(compile((_installed / "__init__.py").read_text(encoding="utf-8"), str(_installed / "__init__.py"), "exec"))
'''


class BuildWithWorkflow(build_py):
    """Copies rules, Snakefile, environments and default configuration to ``anatcl/shipped``."""

    def run(self) -> None:
        """Build the package, then add the workflow; an editable install finds it in the clone."""
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib) / "anatcl" / "shipped"
        shutil.rmtree(shipped, ignore_errors=True)
        for name in WORKFLOW:
            source, target = ROOT / name, shipped / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        stand_in = shipped / "library" / "anatcl" / "__init__.py"
        stand_in.parent.mkdir(parents=True)
        stand_in.write_text(STAND_IN, encoding="utf-8")


setup(cmdclass={"build_py": BuildWithWorkflow})
