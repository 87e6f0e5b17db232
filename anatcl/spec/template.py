"""The file that describes a template (YAML; shipped: ``templates/*.yaml``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from anatcl.base.errors import InputError
from anatcl.spec.section import Section, fits
from anatcl.spec.shipped import find_file
from anatcl.spec.yaml_file import read_yaml

FOLDER = Path(__file__).with_name("templates")
Word = Annotated[str, AfterValidator(fits("[A-Za-z0-9]+", "other than letters and digits; it goes into file names"))]
IMAGES = ("head", "brain_mask", "icv_mask", "gm", "wm", "csf")


class Template(Section):
    """A template: images on one grid, or the packaged one. Relative paths are relative to the YAML file."""

    name: Annotated[
        str, AfterValidator(fits("[A-Za-z0-9]+", "other than letters and digits; it goes into file names"))
    ] = Field(description="name used in file names: letters and digits only")
    space: str = Field(description="name of its space, which the atlas must fit (MNI152NLin2009cAsym)")
    packaged: bool = Field(False, description="the ICBM 2009a symmetric brain inside nilearn, no files needed")
    head: str = Field("", description="whole head; built around the brain when empty")
    brain_mask: str = Field("", description="mask of the brain")
    icv_mask: str = Field("", description="intracranial mask; derived from the brain mask when empty")
    gm: str = Field("", description="fraction of grey matter, 0 to 1")
    wm: str = Field("", description="fraction of white matter, 0 to 1")
    csf: str = Field("", description="fraction of CSF, 0 to 1; mask - gm - wm when empty")
    nuclei: str = Field(
        "",
        description="atlas whose deep structures (inside the white surface) are grey matter whatever their "
        "intensity; empty: none",
    )
    citation: str = Field("", description="citation")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        lacking = [key for key in ("brain_mask", "gm", "wm") if not getattr(self, key)]
        if lacking and not self.packaged:
            raise ValueError(f"the template lacks {' and '.join(map(repr, lacking))}: give the path of that map")
        return self


def load_spec(name: str | Path) -> dict[str, Any]:
    """Read a template's YAML by shipped name or path; check its keys and files.

    Returns
    -------
    dict
        What the file says, with absolute paths.

    Raises
    ------
    InputError
        No such template, a key that is unknown or missing, or a file that does not exist.
    """
    path = find_file(name, FOLDER, ".yaml", "template")
    content = read_yaml(path, "template")
    told = Template.parse(content, "template", path)
    spec = told.model_dump(exclude_unset=True)
    for key in IMAGES if not told.packaged else ():
        if spec.get(key):
            spec[key] = str((path.parent / spec[key]).resolve())
            if not Path(spec[key]).is_file():
                raise InputError(f"the template's {key} does not exist.", spec[key], f"Correct the path in {path}.")
        else:
            spec.pop(key, None)
    return spec
