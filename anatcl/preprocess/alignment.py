"""A robust start: where, roughly, the template's head lies in a scan.

ITK's own start (centres of mass) is pulled down by the neck and off by a field of view that cuts the face. Here the
top of the head gives a first guess, and a search over rotations, shifts and sizes on a 6 mm grid, scored by mutual
information inside the template's intracranial region, corrects it. Headers can be wrong about which way is up: the
24 right-angled turns of the head are tried as well, and one of them is believed where it fits clearly better. On some
scans (thick slices, bright scalp) the skull fits best on the outside of the head: where the cranium would reach into
the scalp, the search is made again for poses that leave it room. Thousands of candidates cost a second or two.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from anatcl.base.errors import InputError
from anatcl.base.files import write_text
from anatcl.images import Volume
from anatcl.preprocess.geometry import coarsen, coordinates, dilate_mm, erode_mm

log = logging.getLogger(__name__)

SEARCH_MM = 6.0
BINS = 24
# How much better than the header's own orientation another one must fit; a wrong one has about 0.7 of the right score.
BELIEVED = 1.1
TURNS_TRIED = 3  # the best of 23 by a coarse look
# Skull and scalp above the middle of the brain are at least this thick (mm); the share of the upper cranium that
# reaches into them is below .12 in right poses and above .23 where the skull was taken for the outside of the head.
SCALP_MM = 6.0
SCALP_SHARE = 0.18


@dataclasses.dataclass(frozen=True)
class Pose:
    """Template point ``x`` (RAS, mm) lies at ``scale * R(angles) (x - centre) + centre + shift`` in the scan."""

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def matrix(self, centre: NDArray) -> NDArray:
        """The pose as a 4 x 4 matrix, template RAS to scan RAS."""
        linear = self.scale * Rotation.from_euler("xyz", self.angles, degrees=True).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = centre + self.shift - linear @ centre
        return matrix


def find_pose(scan: Volume, head: NDArray, template: Volume, icv: NDArray, scalp_mm: float = 0.0) -> NDArray:
    """Find the matrix from template points to scan points (RAS, mm), shape (4, 4).

    Parameters
    ----------
    scan, template : Volume
        Heads with skull and scalp.
    head : ndarray of bool
        Rough head mask of the scan.
    icv : ndarray of bool
        Intracranial mask of the template.
    scalp_mm : float
        How deep below the surface of `head` the cranium lies at least; 0 asks for no room (stripped scans).
    """
    inside = coordinates(template, np.argwhere(icv))
    centre = inside.mean(axis=0)
    points = coordinates(scan, np.argwhere(head))
    score = _Score(coarsen(scan, SEARCH_MM), template, icv, centre)
    guess = first_guess(points, inside)
    pose = _search(score, guess)
    best = score(pose) * BELIEVED
    if scalp_mm:
        pose = _leave_room(score, pose, guess, _Room(scan, head, scalp_mm, score))
    matrix = pose.matrix(centre)
    for turn, start in _turned_starts(score, points, inside):
        score.turn(turn)
        pose = _descend(score, start)
        if score(pose) > best:
            log.warning(
                "the head's orientation in the header seems to be wrong; the orientation found in the image is used"
            )
            best, matrix = score(pose), np.linalg.inv(turn) @ pose.matrix(centre)
    return matrix


def _turned_starts(score: _Score, points: NDArray, inside: NDArray) -> list[tuple[NDArray, Pose]]:
    """The most promising turns of the scan about the middle of the head, each with a pose to start from."""
    middle = points.mean(axis=0)
    found: list[tuple[float, NDArray, Pose]] = []
    for rotation in Rotation.create_group("O").as_matrix().round():
        turn = np.eye(4)
        turn[:3, :3], turn[:3, 3] = rotation, middle - rotation @ middle
        score.turn(turn)
        x, y, z = first_guess(points @ rotation.T + turn[:3, 3], inside)
        starts = [Pose((pitch, 0.0, 0.0), (x, y, z + up), 0.98) for pitch in (-12.0, 12.0) for up in (-20, 0, 20)]
        start = max(starts, key=score)
        if not np.array_equal(rotation, np.eye(3)):
            found.append((score(start), turn, start))
    best = sorted(found, key=lambda item: item[0], reverse=True)[:TURNS_TRIED]
    return [(turn, start) for _, turn, start in best]


def first_guess(head: NDArray, inside: NDArray) -> tuple[float, float, float]:
    """Shift (mm) that puts the template's vertex under the top of the head, and centres it there.

    Parameters
    ----------
    head : ndarray of shape (N, 3)
        RAS coordinates of head voxels.
    inside : ndarray of shape (M, 3)
        RAS coordinates of the template's intracranial voxels.
    """
    # The 99.9th percentile: a few bright voxels above the head must not set its top.
    top = np.percentile(head[:, 2], 99.9)
    upper = head[head[:, 2] > top - 90]
    scalp = 10.0
    x, y = (np.percentile(upper[:, axis], [1, 99]).mean() - inside[:, axis].mean() for axis in (0, 1))
    return float(x), float(y), float(top - scalp - inside[:, 2].max())


class _Score:
    """Mutual information of the two images in the dilated intracranial region, for any pose."""

    def __init__(self, scan: Volume, template: Volume, icv: NDArray, centre: NDArray) -> None:
        coarse = coarsen(template, SEARCH_MM)
        region = coarsen(Volume(icv.astype(np.float32), template.affine), SEARCH_MM).data > 0.5
        near = dilate_mm(region, coarse, 15.0)
        self.cranium = coordinates(coarse, np.argwhere(region))
        self.points = coordinates(coarse, np.argwhere(near))
        self.fixed = _bins(coarse.data[near])
        self.scan = Volume(ndimage.gaussian_filter(_bins(scan.data).astype(np.float32), 0.7), scan.affine)
        self.affine = scan.affine
        self.inverse = np.linalg.inv(scan.affine)
        self.centre = centre

    def turn(self, matrix: NDArray) -> None:
        """From now on score poses of the scan as `matrix` (4 x 4, RAS) moves it."""
        self.inverse = np.linalg.inv(matrix @ self.affine)

    def __call__(self, pose: Pose) -> float:
        matrix = self.inverse @ pose.matrix(self.centre)
        index = self.points @ matrix[:3, :3].T + matrix[:3, 3]
        moving = ndimage.map_coordinates(self.scan.data, index.T, order=1, mode="constant", cval=0)
        joint = np.bincount(self.fixed * BINS + moving.astype(np.int64), minlength=BINS * BINS).reshape(BINS, BINS)
        p = joint / joint.sum()
        product = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
        used = p > 0
        return float((p[used] * np.log(p[used] / product[used])).sum())


def _bins(data: NDArray) -> NDArray:
    low, high = np.percentile(data, [1, 99])
    return np.clip((data - low) / max(high - low, 1e-6) * (BINS - 1), 0, BINS - 1).astype(np.int64)


def _search(
    score: Callable[[Pose], float],
    guess: tuple[float, float, float],
    pitches: tuple[int, ...] = (-24, -12, 0, 12, 24),
    sizes: tuple[float, ...] = (0.92, 1.04),
) -> Pose:
    """Coarse grid over pitch, height and size, then coordinate descent with shrinking steps."""
    x, y, z = guess
    starts = [
        Pose((pitch, 0.0, 0.0), (x, y + back, z + up), size)
        for pitch, back, up, size in itertools.product(pitches, (-10, 10), (-20, 0, 20), sizes)
    ]
    best = sorted(starts, key=score, reverse=True)[:3]
    return max((_descend(score, start) for start in best), key=score)


class _Room:
    """Where in the scan the cranium may be: in the head, below skull and scalp."""

    def __init__(self, scan: Volume, head: NDArray, scalp_mm: float, score: _Score) -> None:
        solid = scan.like(ndimage.binary_fill_holes(head).astype(np.float32))
        coarse = coarsen(solid, SEARCH_MM / 2)
        self.deep = erode_mm(coarse.data > 0.5, coarse, scalp_mm).astype(np.float32)
        self.inverse = np.linalg.inv(coarse.affine)
        self.centre = score.centre
        self.points = score.cranium[score.cranium[:, 2] > score.centre[2]]

    def lacks(self, pose: Pose) -> float:
        """Share of the upper cranium, in this pose, that reaches into the scalp or out of the head."""
        matrix = self.inverse @ pose.matrix(self.centre)
        index = self.points @ matrix[:3, :3].T + matrix[:3, 3]
        return 1 - float(ndimage.map_coordinates(self.deep, index.T, order=1, mode="constant", cval=0).mean())


def _leave_room(score: _Score, pose: Pose, guess: tuple[float, float, float], room: _Room) -> Pose:
    """The pose itself, or, where its cranium reaches into the scalp, the best of smaller ones that does not."""
    if room.lacks(pose) <= SCALP_SHARE:
        return pose

    def inside(candidate: Pose) -> float:
        return score(candidate) - room.lacks(candidate)

    found = _search(inside, guess, pitches=(-12, 0, 12), sizes=(0.84, 0.94))
    if room.lacks(found) > SCALP_SHARE:
        return pose
    log.info("the estimated cranium reached into the scalp; a smaller one is used")
    return found


def _descend(score: Callable[[Pose], float], pose: Pose) -> Pose:
    value = score(pose)
    for size in (1.0, 0.5, 0.25):
        improved = True
        while improved:
            improved = False
            for candidate in _neighbours(pose, size):
                trial = score(candidate)
                if trial > value + 1e-5:
                    pose, value, improved = candidate, trial, True
    return pose


def _neighbours(pose: Pose, size: float) -> list[Pose]:
    """Poses one step away: 8 degrees, 8 mm, 4 % (times `size`) along each parameter."""
    found = []
    for sign in (-1, 1):
        for axis in range(3):
            step = sign * 8 * size * np.eye(3)[axis]
            (a, b, c), (x, y, z) = pose.angles + step, pose.shift + step
            found.append(dataclasses.replace(pose, angles=(float(a), float(b), float(c))))
            found.append(dataclasses.replace(pose, shift=(float(x), float(y), float(z))))
        scale = pose.scale * (1 + sign * 0.04 * size)
        if 0.8 <= scale <= 1.25:
            found.append(dataclasses.replace(pose, scale=scale))
    return found


def write_itk(path: str | Path, matrix: NDArray) -> None:
    """Write a RAS matrix (fixed point to moving point) as an ITK affine text transform (LPS)."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ matrix @ flip
    numbers = " ".join(f"{v:.10g}" for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    write_text(
        path,
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n",
    )


def read_itk(path: str | Path) -> NDArray:
    """Read an ITK affine text transform as a RAS matrix, shape (4, 4); the opposite of :func:`write_itk`.

    Raises
    ------
    InputError
        The file holds no affine transform.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    values = {name: rest.split() for name, _, rest in (line.partition(": ") for line in lines)}
    try:
        numbers, centre = (np.array(values[key], float) for key in ("Parameters", "FixedParameters"))
        rotation, shift = numbers[:9].reshape(3, 3), numbers[9:12]
    except (KeyError, ValueError) as error:
        raise InputError("it holds no affine transform.", path, "Run the step that makes it again.") from error
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = rotation, shift + centre - rotation @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip


def read_matrix(path: Path) -> NDArray:
    """Read ITK's binary affine (``.mat``, MATLAB level 4) as a RAS matrix, fixed to moving."""
    from scipy.io import loadmat

    content = loadmat(path)
    name = next(k for k in content if k.startswith("AffineTransform"))
    numbers, centre = content[name].ravel(), content["fixed"].ravel()
    lps = np.eye(4)
    lps[:3, :3] = numbers[:9].reshape(3, 3)
    lps[:3, 3] = numbers[9:12] + centre - lps[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ lps @ flip


def write_matrix(path: str | Path, matrix: NDArray) -> None:
    """Write a RAS matrix (4 x 4, fixed to moving) as ITK's binary affine (``.mat``); the opposite of `read_matrix`."""
    from scipy.io import savemat

    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ matrix @ flip
    numbers = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])[:, None]
    savemat(path, {"AffineTransform_double_3_3": numbers, "fixed": np.zeros((3, 1))}, format="4")
