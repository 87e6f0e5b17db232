"""Outside encoders, with the interface of this package's encoders: ``embed`` maps (N, 1, X, Y, Z) to (N, D)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anatcl.base.errors import InputError
from anatcl.base.files import sha256
from anatcl.pretrain.bundle import load_encoder
from anatcl.pretrain.checkpoint_file import read_checkpoint
from anatcl.pretrain.official import official_model
from anatcl.pretrain.wrapped import Outside, built, first_line, load_script
from anatcl.spec.encoders import Encoder, is_script, kind
from anatcl.spec.names import UNKNOWN


class Onnx(nn.Module):
    """A network that onnxruntime computes, in float32, on the CPU or the GPU."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            remedy = "pip install 'anatcl-workflow[encoders]'"
            raise InputError("an ONNX model needs the package onnxruntime.", path, remedy) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        known = onnxruntime.get_available_providers()
        wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime raises classes of its own, none of them public
            raise InputError(f"is not a model that onnxruntime reads ({error}).", path, "Export it again.") from error
        self.input = self.session.get_inputs()[0]

    def forward(self, x: Tensor) -> Tensor:
        """Compute the first output for (N, C, X, Y, Z); one volume at a time where the model has a fixed batch."""
        fixed = self.input.shape[0] if isinstance(self.input.shape[0], int) else len(x)
        kind = np.float16 if "float16" in self.input.type else np.float32
        values = x.detach().float().cpu().numpy().astype(kind)
        parts = [values[i : i + fixed] for i in range(0, len(values), fixed)]
        found = [self.session.run(None, {self.input.name: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(found).astype(np.float32)).to(x.device)


def open_encoder(given: Encoder) -> tuple[nn.Module, dict[str, Any]]:
    """Open an encoder that is no adapter.

    Parameters
    ----------
    given : Encoder
        One member (:meth:`Encoder.member`).

    Returns
    -------
    module : nn.Module
        On the CPU, in evaluation mode, with ``embed``.
    model_json : dict
        The contract: what the encoder takes, where it comes from, whom it has seen.

    Raises
    ------
    InputError
        A file or class cannot be used; no code of a file of weights is executed.
    """
    if kind(given.weights[0]) == "official":
        digest = given.sha256[0] if given.sha256 else ""
        official, about = official_model(given.weights[0], digest)
        return official, about | _seen(given, about)
    path = Path(given.weights[0])
    _check_digest(path, given)
    if kind(str(path)) == "bundle":
        module, description = load_encoder(path)
        return module, description | {"source": {"from": path.name, **description.get("source", {})}} | _seen(
            given, description
        )
    assert given.input is not None
    body = _network(path, given)
    pooling = "" if given.pooling in ("average", "grid") else given.pooling
    theirs = Outside(body, given.input.channels, pooling)
    return theirs.eval(), describe(given)


def _check_digest(path: Path, given: Encoder) -> None:
    if given.sha256 and path.is_file() and sha256(path) != given.sha256[0].lower():
        raise InputError(f"the file's SHA-256 is not {given.sha256[0]}.", path, "Fetch the file again.")


def describe(given: Encoder) -> dict[str, Any]:
    """Content of ``model.json`` for an encoder that is not ours."""
    files = {Path(path).name: sha256(path) for path in given.weights if Path(path).is_file()}
    channels = given.input.channels if given.input else 1
    return {
        "method": "outside",
        "architecture": given.architecture or given.adapter or "as in the file",
        "network": {"arguments": given.arguments, "channels": channels, "pooling": given.pooling},
        "input": {} if given.input is None else given.input.model_dump(mode="json"),
        "source": {"files": files},
        **_seen(given, {}),
    }


def _seen(given: Encoder, described: Mapping[str, Any]) -> dict[str, Any]:
    """Whom an encoder was pretrained on: what the user says, else what the encoder itself says."""
    people = read_people(given.participants) if given.participants else described.get("train_participants")
    cohorts = list(given.pretrained_on) or described.get("pretrained_on") or ([] if people else [UNKNOWN])
    return {"pretrained_on": cohorts, "train_participants": people}


def read_people(path: str | Path) -> list[str]:
    """Names or hashes of participants, one per line."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _network(path: Path, given: Encoder) -> nn.Module:
    if kind(str(path)) == "onnx":
        return Onnx(path)
    if kind(str(path)) == "torchscript" or is_script(path):
        return load_script(path)
    body = built(given.architecture, given.arguments, given.pooling)
    return load_state(body, read_state(path), given.prefix, path, given.may_lack)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a state dict, safetensors or a checkpoint of torch read without running code."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix.lower() != ".safetensors":
        return read_checkpoint(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"is not a safetensors file ({first_line(error)}).", path, "Fetch it again.") from error


def load_state(body: nn.Module, state: Mapping[str, Tensor], prefix: str, path: Path, may_lack: str = "") -> nn.Module:
    """Fill a network with tensors; without a prefix, the usual ones are tried. Tensors of heads may be left over.

    Raises
    ------
    InputError
        A parameter of the network has no tensor, or one of another shape.
    """
    wanted = body.state_dict()
    usual = ["", "encoder.", "backbone.", "model.", "module.", "network.", "encoder.encoder."]
    prefixes = [prefix, ""] if prefix else usual  # `read_checkpoint` takes module. and backbone. off already
    tries = [{k.removeprefix(p): v for k, v in state.items() if k.startswith(p)} for p in prefixes]
    best = max(tries, key=lambda found: len(wanted.keys() & found.keys()))
    missing = [name for name in wanted if name not in best and not (may_lack and re.fullmatch(may_lack, name))]
    wrong = [name for name in wanted if name in best and best[name].shape != wanted[name].shape]
    for names, what in ((missing, "no tensor"), (wrong, "a tensor of another shape")):
        if names:
            have = ", ".join(sorted(state)[:3])
            raise InputError(
                f"{len(names)} of {len(wanted)} parameters of the network have {what}, {names[0]} first.",
                path,
                f"The file has {have} ...: name the right architecture, or what its names begin with (prefix).",
            )
    body.load_state_dict({name: best.get(name, value) for name, value in wanted.items()})
    return body
