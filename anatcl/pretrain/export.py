"""Encoders for other programs: safetensors, ONNX, a folder in the layout of Hugging Face."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path, write_json, write_text
from anatcl.base.people import hashed
from anatcl.pretrain.bundle import load_encoder

log = logging.getLogger(__name__)
FORMATS = ("safetensors", "onnx", "hf")
CLOSE = 1e-3  # largest difference of exported and own output, in SDs of the output
PEOPLE = ("train_participants", "train_participants_sha256")


def export(bundle: str | Path, out: str | Path, kind: str = "safetensors", with_participants: bool = False) -> None:
    """Write the encoder (without its head) for use elsewhere, and check that it gives what ours gives.

    Parameters
    ----------
    bundle : path
        Folder with ``encoder.safetensors`` and ``model.json``.
    out : path
        File to write; for "hf" a folder.
    kind : {"safetensors", "onnx", "hf"}
        safetensors: keys without ``encoder.``, model.json in the metadata. ONNX: input ``volume`` (n, 1, X, Y, Z) true
        values, output ``embedding`` (n, D), any n; needs the packages onnx and onnxruntime. hf: ``config.json``,
        ``model.safetensors`` and a model card.
    with_participants : bool
        Keep the names of the people it was trained on; else SHA-256 of each stands there, which the audit takes too.

    Raises
    ------
    InputError
        The format is unknown, a package is missing, or the exported encoder gives something else.
    """
    if kind not in FORMATS:
        raise InputError(f"format {kind!r} is unknown.", remedy=f"Choose {', '.join(FORMATS)}.")
    model, description = load_encoder(bundle)
    told = description if with_participants else without_names(description)
    x = _probe(description)
    with torch.inference_mode():
        expected = model.embed(x)
    if kind == "onnx":
        found = _onnx(model, told, Path(out), x)
    else:
        file = Path(out) / "model.safetensors" if kind == "hf" else Path(out)
        _safetensors(model, told, file)
        found = _again(bundle, file, x)
        if kind == "hf":
            _hugging_face(told, Path(out))
    _check(found, expected, out)


def without_names(description: Mapping[str, Any]) -> dict[str, Any]:
    """A model.json with SHA-256 of each participant in the place of the name."""
    people = description.get("train_participants")
    return {**description, **({"train_participants": [hashed(str(p)) for p in people]} if people else {})}


def _probe(description: Mapping[str, Any]) -> torch.Tensor:
    """Two volumes of noise on the encoder's grid."""
    values = np.random.default_rng(0).random((2, 1, *description["input"]["shape"]), dtype=np.float32)
    return torch.from_numpy(values)


def _check(found: torch.Tensor, expected: torch.Tensor, out: str | Path) -> None:
    gap = float((found - expected).abs().max() / expected.std().clamp_min(1e-12))
    log.info("exported and own output differ by at most %.2g SD", gap)
    if not gap < CLOSE:
        reason = f"the exported encoder differs from the original by {gap:.3g} SD."
        raise InputError(reason, out, "Do not use the file; report the versions of torch and onnx.")


def _safetensors(model: torch.nn.Module, told: Mapping[str, Any], out: Path) -> None:
    from safetensors.torch import save

    weights = {k: v.contiguous() for k, v in model.encoder.state_dict().items()}  # type: ignore[union-attr]
    with atomic_path(out) as temporary:
        temporary.write_bytes(save(weights, {"model.json": json.dumps(told)}))  # save_file would leave mode 0600


def _again(bundle: str | Path, file: Path, x: torch.Tensor) -> torch.Tensor:
    """What the written weights give in a network made again."""
    from safetensors.torch import load_file

    fresh, _ = load_encoder(bundle)
    fresh.encoder.load_state_dict(load_file(file))
    with torch.inference_mode():
        return fresh.embed(x)


def _onnx(model: torch.nn.Module, told: Mapping[str, Any], out: Path, x: torch.Tensor) -> torch.Tensor:
    try:
        import onnx
    except ImportError as error:
        raise InputError("ONNX is not installed.", remedy="pip install 'anatcl-workflow[encoders]'") from error
    with atomic_path(out) as temporary:
        torch.onnx.export(
            _Embed(model),
            (x,),
            str(temporary),
            input_names=["volume"],
            output_names=["embedding"],
            dynamic_axes={"volume": {0: "n"}, "embedding": {0: "n"}},
            dynamo=False,
        )
        graph = onnx.load(str(temporary))
        onnx.helper.set_model_props(graph, {"model.json": json.dumps(told)})
        onnx.save(graph, str(temporary))
    return _run(out, x)


def _run(file: Path, x: torch.Tensor) -> torch.Tensor:
    """What an ONNX file gives: by onnxruntime, or by onnx's own slow evaluator."""
    try:
        from onnxruntime import InferenceSession

        session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(str(file))
    return torch.from_numpy(np.asarray(session.run(None, {"volume": x.numpy()})[0], np.float32))


class _Embed(torch.nn.Module):
    """The encoder, mirrored axes included, as a module of its own."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.embed(x)  # type: ignore[operator]


CARD = """---
library_name: anatcl
tags: [neuroimaging, mri, contrastive-learning]
license: other
---

# {method}, {architecture}

An encoder of T1-weighted MRI, pretrained with {method} on {n} participants{hashes}.

- Input: `{map}` map, shape {shape}, axes RAS, {voxel} mm voxels, intensity: {intensity}. All details: `config.json`.
- Output: {dim} features per volume.
- Flipped axes before the network: {flip}.
- Licence: {licence}.

```python
import anatcl

encoder = anatcl.load_encoder({{
    "weights": "model.safetensors", "architecture": "{architecture}",
    "input": {{"map": "{map}", "shape": {shape}}}, "pretrained_on": "see config.json",
}})
```
"""


def _hugging_face(told: Mapping[str, Any], out: Path) -> None:
    """Write ``config.json`` and ``README.md`` beside ``model.safetensors``."""
    write_json(out / "config.json", {"model_type": "anatcl", **told})
    contract, people = told["input"], told.get("train_participants") or []
    facts = {key: contract.get(key, "n/a") for key in ("map", "shape", "intensity")}
    text = CARD.format(
        method=told.get("method", "n/a"),
        architecture=told["architecture"],
        n=len(people) or "an unknown number of",
        hashes=" (SHA-256 of their names in config.json)" if people and len(str(people[0])) == 64 else "",
        voxel=contract.get("voxel_mm", "n/a"),
        dim=told.get("embedding_dim", "n/a"),
        flip=told.get("flip_axes") or "none",
        licence=told.get("licence", "n/a"),
        **facts,
    )
    write_text(out / "README.md", text)
