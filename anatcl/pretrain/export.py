"""Encoders for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from anatcl.base.errors import InputError
from anatcl.base.files import atomic_path
from anatcl.pretrain.bundle import load_encoder

FORMATS = ("safetensors", "onnx")


def export(bundle: str | Path, out: str | Path, kind: str = "safetensors") -> None:
    """Write the encoder (without its head) for use elsewhere.

    Parameters
    ----------
    bundle : path
        Folder with ``encoder.safetensors`` and ``model.json``.
    out : path
        File to write.
    kind : {"safetensors", "onnx"}
        safetensors: keys without ``encoder.``, model.json in the metadata. ONNX: input ``volume`` (n, 1, X, Y, Z) true
        values, output ``embedding`` (n, D), any n; needs the packages onnx and onnxscript.
    """
    if kind not in FORMATS:
        raise InputError(f"format {kind!r} is unknown.", remedy=f"Choose {' or '.join(FORMATS)}.")
    model, description = load_encoder(bundle)
    metadata = {"model.json": json.dumps(description)}
    if kind == "safetensors":
        from safetensors.torch import save

        with atomic_path(out) as temporary:
            weights = {k: v.contiguous() for k, v in model.encoder.state_dict().items()}
            temporary.write_bytes(save(weights, metadata))  # save_file would leave mode 0600
        return
    volume = torch.zeros(2, 1, *description["input"]["shape"])
    try:
        import onnx
    except ImportError as error:
        raise InputError("ONNX is not installed.", remedy="pip install onnx onnxscript onnxruntime") from error
    with atomic_path(out) as temporary:
        torch.onnx.export(
            _Embed(model),
            (volume,),
            str(temporary),
            input_names=["volume"],
            output_names=["embedding"],
            dynamic_axes={"volume": {0: "n"}, "embedding": {0: "n"}},
            dynamo=False,
        )
        graph = onnx.load(str(temporary))
        onnx.helper.set_model_props(graph, metadata)
        onnx.save(graph, str(temporary))


class _Embed(torch.nn.Module):
    """The encoder, mirrored axes included, as a module of its own."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model.embed(x)  # type: ignore[operator]
