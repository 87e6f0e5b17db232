"""Augmentations and their options; the transforms themselves are in :mod:`anatcl.pretrain.augment`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from anatcl.base.words import hint
from anatcl.spec.section import NotNegative, Real, Section, Whole, one_of, shown, wrongs

Share = Annotated[Real, Field(ge=0, le=1)]


class Transform(Section):
    """Options of every transform."""

    p: Share = Field(0.5, description="probability that a volume is transformed")


class Flip(Transform):
    """Mirror left and right."""


class Crop(Transform):
    """Take a random box and enlarge it to the full volume."""

    smallest: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.8, description="smallest side of the box, as a share of the volume's"
    )


class Affine(Transform):
    """Rotate, scale and shift about the centre."""

    degrees: NotNegative = Field(10.0, description="largest rotation about each axis, in degrees")
    scale: Annotated[Real, Field(ge=0, lt=1)] = Field(0.1, description="largest relative change of size")
    shift: NotNegative = Field(0.1, description="largest shift, as a share of half the volume")


class Elastic(Transform):
    """Smooth random displacement: a coarse field of random vectors, interpolated."""

    nodes: Annotated[Whole, Field(ge=2)] = Field(5, description="nodes of the field along each axis")
    size: NotNegative = Field(0.03, description="SD of the displacement, as a share of half the volume")


class BiasField(Transform):
    """Multiply by the exponential of a random quadratic polynomial of the position."""

    strength: NotNegative = Field(0.1, description="SD of the polynomial's coefficients")


class Noise(Transform):
    """Add Gaussian noise."""

    sd: NotNegative = Field(0.1, description="largest SD, as a share of the volume's own")


class Blur(Transform):
    """Smooth by a Gaussian."""

    sigma: Annotated[Real, Field(ge=0.1)] = Field(1.0, description="largest SD, in voxels; at least 0.1")


class Cutout(Transform):
    """Set a random box to zero."""

    side: Annotated[Real, Field(gt=0, lt=1)] = Field(0.25, description="side of the box, as a share of the volume's")


class Contrast(Transform):
    """Raise intensities, scaled to 0..1 per volume, to a random power."""

    power: Annotated[Real, Field(ge=1)] = Field(1.5, description="the exponent lies between 1 / power and power")


TRANSFORMS: dict[str, type[Transform]] = {
    "flip": Flip,
    "crop": Crop,
    "affine": Affine,
    "elastic": Elastic,
    "bias-field": BiasField,
    "blur": Blur,
    "contrast": Contrast,
    "noise": Noise,
    "cutout": Cutout,
}
# What a method that needs augmentation gets when the configuration does not choose. The sum over a modulated map is a
# volume of tissue, so nothing that enlarges or rescales the values (crop, scale, contrast) stands there.
DEFAULT: dict[str, dict[str, dict[str, Any]]] = {
    "vbm": {"flip": {}, "affine": {"scale": 0.0}, "blur": {}, "noise": {}, "cutout": {}},
    "quasi-raw": {"flip": {}, "crop": {}, "affine": {}, "blur": {}, "contrast": {}, "noise": {}, "cutout": {}},
}
WORDS = ("auto", "none")


def _check(value: Any) -> Any:
    """``auto``, ``none`` or transforms by name; kept as it was written, since its order counts."""
    if isinstance(value, Mapping):
        transforms(value)
        return dict(value)
    if isinstance(value, str):
        return one_of(value, WORDS)
    raise ValueError(f"it is {shown(value)}, neither auto nor none nor transforms by name")


def transforms(values: Mapping[str, Any]) -> dict[str, Transform]:
    """Transforms by name, in the order in which they stand: ``{"flip": {"p": 0.5}, "noise": {}}``.

    Raises
    ------
    ValueError
        A transform or a parameter is unknown, or a value is out of range; the text names all of them.
    """
    found, wrong = {}, []
    for name, told in values.items():
        if name not in TRANSFORMS:
            wrong.append(f"the augmentation {shown(name)} is unknown ({hint(str(name), TRANSFORMS)})")
            continue
        try:
            found[str(name)] = TRANSFORMS[name].model_validate({} if told is None else told)
        except ValidationError as error:
            wrong += [item.text for item in wrongs(TRANSFORMS[name], error, [str(name)])]
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


Augmentation = Annotated[Literal["auto", "none"] | dict[str, Any], BeforeValidator(_check)]
