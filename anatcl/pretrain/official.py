"""The published AnatCL weights, loaded without executing what their pickles ask for."""

from __future__ import annotations

import hashlib
import logging
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, sha256
from anatcl.models import ENCODERS, build_model
from anatcl.pretrain.arrays import array_meta
from anatcl.pretrain.bundle import save_encoder
from anatcl.pretrain.checkpoint_file import read_checkpoint
from anatcl.pretrain.pack import CAT12_CROP, CAT12_SHAPE, plan_grid

log = logging.getLogger(__name__)

_BASE = "https://gitlab.di.unito.it/barbano/anatcl-pretrained/-/raw/main"
# As named in the authors' loader: global and local descriptors, five folds each. Their digests are not published.
PUBLISHED = {
    f"anatcl-{kind}/fold-{fold}": f"{_BASE}/resnet18-anatcl-{kind[0]}3/fold{fold}.pth"
    for kind in ("global", "local")
    for fold in range(5)
}


def fetch(source: str, digest: str = "", cache: str | Path = "~/.cache/anatcl") -> Path:
    """Return the local file of a path, a URL, or a published name (``anatcl-global/fold-0``).

    A download needs the SHA-256 it must have and is kept under its full host and path, since the published files of
    different folds share one base name.

    Parameters
    ----------
    source : str
    digest : str
        SHA-256 in hexadecimal; checked for local files too when given.
    cache : path
    """
    source = PUBLISHED.get(source, source)
    if "://" not in source:
        path = Path(source)
        if not path.is_file():
            names = f"{next(iter(PUBLISHED))} ..."
            raise InputError("the weights do not exist.", file=path, remedy=f"Give a file, a URL, or a name: {names}")
    else:
        if not digest:
            raise InputError("a download needs its SHA-256.", file=source, remedy="Give --sha256, or a local file.")
        parts = urllib.parse.urlsplit(source)
        path = Path(cache).expanduser() / (parts.netloc or "local") / parts.path.lstrip("/")
        if not path.is_file():
            _download(source, digest, path)
    if digest and sha256(path) != digest.lower():
        raise InputError(
            f"the file's SHA-256 is {sha256(path)}, not {digest.lower()}.",
            file=path,
            remedy="Delete it and fetch it again, or correct the digest.",
        )
    return path


def _download(source: str, digest: str, path: Path) -> None:
    if urllib.parse.urlsplit(source).scheme not in ("https", "http", "file"):
        raise InputError("only https, http and file URLs are fetched.", file=source, remedy="Download it yourself.")
    log.info("fetching %s", source)
    found = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(source, timeout=60) as stream,  # noqa: S310 (schemes are checked above)
            atomic_path(path) as temporary,
            open(temporary, "wb") as out,
        ):
            while block := stream.read(1 << 20):
                found.update(block)
                out.write(block)
            if found.hexdigest() != digest.lower():
                raise InputError(
                    f"the download's SHA-256 is {found.hexdigest()}, not {digest.lower()}; it was thrown away.",
                    file=source,
                    remedy="Correct the digest, or do not trust the source.",
                )
    except OSError as error:
        raise InputError(f"the download failed ({error}).", file=source, remedy="Try again, or give a file.") from error


def import_weights(
    source: str,
    out_dir: str | Path,
    digest: str = "",
    cache: str | Path = "~/.cache/anatcl",
    architecture: str = "resnet18",
    flip: bool = True,
) -> dict[str, Any]:
    """Turn published weights into a bundle (``encoder.safetensors``, ``model.json``) that the other stages take.

    Parameters
    ----------
    source, digest, cache
        See `fetch`.
    out_dir : path
    architecture : str
    flip : bool
        The network expects the first axis from right to left, as CAT12 stores its maps (and OpenBHB its arrays, which
        have no header that says so: not verified). Volumes are RAS everywhere here, so the bundle mirrors them.

    Returns
    -------
    dict
        Content of model.json.
    """
    path = fetch(source, digest, cache)
    state = read_checkpoint(path)
    if architecture not in ENCODERS:
        raise InputError(f"encoder {architecture!r} is unknown.", remedy=f"Choose one of {', '.join(ENCODERS)}.")
    head = "projection" if "head.0.weight" in state else "none"
    model = build_model(architecture, head)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = f"the weights do not fit {architecture}: {error}"
        raise InputError(reason, file=path, remedy="Name the right --encoder.") from error
    description = {
        "method": "official",
        "architecture": architecture,
        "head": head,
        "embedding_dim": int(model.encoder.out_features),  # type: ignore[arg-type]
        "input": published_input(),
        "flip_axes": [0] if flip else [],
        "source": {"from": source, "sha256": sha256(path)},
        "licence": "as of the published weights (MIT, by the authors' repository)",
        "train_participants_sha256": None,
        "train_participants": None,
    }
    save_encoder(out_dir, model, description)
    return description


def published_input() -> dict[str, Any]:
    """Input of the published encoders: modulated GM, 1.5 mm, 121 x 128 x 121, no intensity normalisation."""
    affine = np.array([[1.5, 0, 0, -90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])
    grid = plan_grid(CAT12_SHAPE, affine)
    meta = array_meta(grid.shape, grid.affine, "vbm", CAT12_CROP)
    return meta | {"source_shape": list(CAT12_SHAPE)}
