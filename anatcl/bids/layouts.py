"""Layouts of a dataset: where images are, how they are named, which tables describe participants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anatcl.bids import check, names, walk
from anatcl.spec.bids import Options
from anatcl.spec.openbhb import LAYOUT


class Tree:
    """A BIDS dataset: ``sub-*/[ses-*/]anat/*_T1w.nii.gz``, ``participants.tsv`` beside them."""

    nobody = "there is no sub-* folder in it."

    def walk(self, root: Path) -> walk.Listing:
        """List the images and the participants."""
        return walk.walk(root)

    def participant(self, relative: str) -> str:
        """The participant that a path of the dataset belongs to."""
        return relative.split("/")[0]

    def stem(self, relative: str) -> str:
        """What an image is called, whether its name is right or not."""
        return names.stem(relative)

    def parse(self, relative: str) -> names.Name:
        """Name and entities of an image; an `InputError` says what is wrong with the name."""
        return names.parse(relative)

    def check(self, path: Path, limits: list[Any]) -> dict[str, Any]:
        """Verdict over one image, as of :func:`anatcl.bids.check.check`."""
        return check.check(path, limits)

    def tables(self, root: Path) -> Sequence[Path]:
        """Tables of participants that exist; later ones add columns."""
        return [path for path in (root / "participants.tsv",) if path.is_file()]

    def described(self, relative: str) -> dict[str, str]:
        """Values known from the path of an image, for columns that no table fills."""
        return {}


def layout_of(options: Options) -> Tree:
    """The layout that the options name."""
    if options.layout == LAYOUT:
        from anatcl.bids.openbhb import Release

        return Release(options.maps)
    return Tree()
