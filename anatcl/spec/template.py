"""The file that describes a template; the plan of a run reads it, too, so that nothing heavy is imported here.

A template is a YAML file (shipped: ``templates/*.yaml``)::

    name: MyTemplate                # goes into file names: letters and digits only
    space: MNI152NLin2009cAsym      # the atlas must be made for a compatible space
    head: head_T1w.nii.gz           # whole head; built around the brain when absent
    brain_mask: brain_mask.nii.gz
    icv_mask: icv_mask.nii.gz       # intracranial; derived from the brain mask when absent
    gm: gm.nii.gz                   # tissue fractions, 0 to 1
    wm: wm.nii.gz
    csf: csf.nii.gz                 # mask - gm - wm when absent

Relative paths are relative to the YAML file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from anatcl.base.errors import InputError

FOLDER = Path(__file__).with_name("templates")
KEYS = {"name", "space", "packaged", "head", "brain_mask", "icv_mask", "gm", "wm", "csf", "citation"}


def load_spec(name: str | Path) -> dict[str, Any]:
    """Read a template's YAML by shipped name or path; check its keys and files.

    Raises
    ------
    InputError
        No such template, a key that is unknown or missing, or a file that does not exist.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise InputError(f"there is no template '{name}'.", None, f"Use {shipped}, or the path of a YAML file.")
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(spec, dict) or not {"name", "space"} <= set(spec) <= KEYS:
        raise InputError(f"a template needs name and space, and knows only {sorted(KEYS)}.", path, "Mend its keys.")
    if not re.fullmatch("[A-Za-z0-9]+", str(spec["name"])):
        raise InputError(f"the name '{spec['name']}' must be letters and digits only.", path, "It goes in file names.")
    if spec.get("packaged"):
        return spec
    for key in ("brain_mask", "gm", "wm"):
        if key not in spec:
            raise InputError(f"the template lacks '{key}'.", path, "Give the path of that map.")
    for key in KEYS & set(spec) - {"name", "space", "packaged", "citation"}:
        spec[key] = str((path.parent / spec[key]).resolve())
        if not Path(spec[key]).is_file():
            raise InputError(f"the template's {key} does not exist.", spec[key], f"Mend the path in {path}.")
    return spec
