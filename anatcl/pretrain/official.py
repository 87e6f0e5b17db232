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
from anatcl.base.files import atomic_path, read_json, sha256, write_json
from anatcl.models import ENCODERS, ContrastiveModel, build_model
from anatcl.pretrain.arrays import array_meta
from anatcl.pretrain.bundle import save_encoder
from anatcl.pretrain.checkpoint_file import read_checkpoint
from anatcl.pretrain.pack import CAT12_CROP, CAT12_SHAPE, plan_grid

log = logging.getLogger(__name__)

_BASE = "https://gitlab.di.unito.it/barbano/anatcl-pretrained/-/raw/main"
_RUN = (
    "0_obhn64_resnet18_amp_yaware_adam_tf_none_lr0.0001_step_step10_rate0.9_wd5e-05_bsz32_trainall_False_temp0.1_views2_"
    "kernel_rbf_sigma2.0_alpha1.0_anat_desikan_normTrue_subsetTrue_{kind}_lambd1.0_fold{fold}_splits5_trial0/weights.pth"
)
_OLD = "resnet18-anatcl-{letter}3/fold{fold}.pth"
# Both generations by the words of the authors' loader (PyPI anatcl 0.0.3): what it fetches, and the files of 2024,
# which it names and fetches no more. Two descriptors, five folds each.
PUBLISHED = {
    f"{word}/{kind}/fold-{fold}": f"{_BASE}/{file.format(kind=kind, letter=kind[0], fold=fold)}"
    for word, file in (("anatcl-g3", _RUN), ("anatcl-g3-old", _OLD))
    for kind in ("global", "local")
    for fold in range(5)
}
# The only digest that is public. The others are noted when a file is first fetched, and compared afterwards.
DIGESTS = {"anatcl-g3/global/fold-0": "77f6d44d0317ffc704ffc751db7eab349a8109e2cd596ab06070f1aec7a55d64"}
NOTED = "first_use.json"


def fetch(source: str, digest: str = "", cache: str | Path = "~/.cache/anatcl") -> Path:
    """Return the local file of a path, a URL, or a published name (``anatcl-g3/global/fold-0``).

    A download is kept under its full host and path, since the published files of different folds share one base name. A
    URL needs the SHA-256 that its file must have. Of published names all digests but one are not public: the digest is
    noted when the file is first fetched (in the cache, ``first_use.json``), which the log says, and compared from then
    on.

    Parameters
    ----------
    source : str
    digest : str
        SHA-256 in hexadecimal; checked for local files too when given.
    cache : path
    """
    if source in PUBLISHED:
        return _published(source, digest or DIGESTS.get(source, ""), Path(cache).expanduser())
    if "://" not in source:
        path = Path(source)
        if not path.is_file():
            names = f"{next(iter(PUBLISHED))} ..."
            raise InputError("the weights do not exist.", file=path, remedy=f"Give a file, a URL, or a name: {names}")
    else:
        if not digest:
            raise InputError("a download needs its SHA-256.", file=source, remedy="Give --sha256, or a local file.")
        path = _place(source, Path(cache).expanduser())
        if not path.is_file():
            _download(source, digest, path)
    if digest and sha256(path) != digest.lower():
        raise InputError(
            f"the file's SHA-256 is {sha256(path)}, not {digest.lower()}.",
            file=path,
            remedy="Delete it and fetch it again, or correct the digest.",
        )
    return path


def _place(url: str, cache: Path) -> Path:
    parts = urllib.parse.urlsplit(url)
    return cache / (parts.netloc or "local") / parts.path.lstrip("/")


def _published(name: str, digest: str, cache: Path) -> Path:
    """The file of a published name, whose digest is that of its first use where none is public."""
    noted = read_json(cache / NOTED) if (cache / NOTED).is_file() else {}
    wanted, path = (digest or noted.get(name, "")).lower(), _place(PUBLISHED[name], cache)
    if not path.is_file():
        _download(PUBLISHED[name], wanted, path)
    found = sha256(path)
    if wanted and found != wanted:
        remedy = "Delete the file and fetch it again; if it differs again, its author changed it."
        raise InputError(f"the file's SHA-256 is {found}, not {wanted}.", file=path, remedy=remedy)
    if not wanted:
        log.warning("%s: no digest is public; SHA-256 %s is noted in %s and compared from now on", name, found, cache)
        write_json(cache / NOTED, noted | {name: found})
    return path


def _download(source: str, digest: str, path: Path) -> None:
    """Fetch a file; with a digest, one that does not have it is thrown away."""
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
            if digest and found.hexdigest() != digest.lower():
                raise InputError(
                    f"the download's SHA-256 is {found.hexdigest()}, not {digest.lower()}; it was deleted.",
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
    model, description = official_model(source, digest, cache, architecture, flip)
    save_encoder(out_dir, model, description)
    return description


def official_model(
    source: str,
    digest: str = "",
    cache: str | Path = "~/.cache/anatcl",
    architecture: str = "resnet18",
    flip: bool = True,
) -> tuple[ContrastiveModel, dict[str, Any]]:
    """The network of published weights, in evaluation mode, and its ``model.json``; see `import_weights`."""
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
    description: dict[str, Any] = {
        "method": "official",
        "architecture": architecture,
        "head": head,
        "embedding_dim": int(model.encoder.out_features),  # type: ignore[arg-type]
        "input": published_input(),
        "flip_axes": [0] if flip else [],
        "source": {"from": source, "sha256": sha256(path)},
        "licence": "as of the published weights (MIT, by the authors' repository)",
        "train_participants_sha256": None,
        "pretrained_on": ["OpenBHB"],
        "train_participants": None,
    }
    model.flip = tuple(description["flip_axes"])
    return model.eval(), description


def published_input() -> dict[str, Any]:
    """Input of the published encoders: modulated GM, 1.5 mm, 121 x 128 x 121, no intensity normalisation."""
    affine = np.array([[1.5, 0, 0, -90], [0, 1.5, 0, -126], [0, 0, 1.5, -72], [0, 0, 0, 1.0]])
    grid = plan_grid(CAT12_SHAPE, affine)
    meta = array_meta(grid.shape, grid.affine, "vbm", CAT12_CROP)
    return meta | {"source_shape": list(CAT12_SHAPE)}
