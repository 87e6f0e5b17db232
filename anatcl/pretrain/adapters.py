"""Models of brainmarks-smri's two methods, taken as they are: ``transform(sample)``, ``forward_embeddings(samples)``.

A sample is what that harness gives: ``image`` (a nibabel image), ``brain_mask`` (on its grid) and ``mni_affine``
(4 x 4, image mm to MNI mm), the last two where they are known. The class gets nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from anatcl.base.errors import InputError

METHOD = "forward_embeddings"
# ITK's points are in LPS, nibabel's in RAS.
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def sample_of(image: Path, mask: Path | None, affine: Path | None) -> dict[str, Any]:
    """One sample from the files of the preprocess stage; what does not exist is None."""
    import nibabel as nib

    if not image.is_file():
        raise InputError("the map does not exist.", file=image, remedy="Run the preprocess stage for this scan.")
    try:
        loaded: Any = nib.load(image)
        loaded.get_fdata(dtype=np.float32)  # a damaged file is found here, not in the model
        brain = nib.load(mask) if mask is not None and mask.is_file() else None
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise InputError(f"the map cannot be read ({error}).", file=image, remedy="Make it again.") from error
    known = affine is not None and affine.is_file()
    return {"image": loaded, "brain_mask": brain, "mni_affine": read_affine(affine) if known and affine else None}


def read_affine(path: str | Path) -> np.ndarray:
    """The map from image mm to template mm (RAS), from the affine of the register step.

    ITK's transform leads from the template to the image, in LPS: it is inverted here.

    Returns
    -------
    ndarray of shape (4, 4)
    """
    from scipy.io import loadmat

    content = loadmat(path)
    name = next(key for key in content if key.startswith(("AffineTransform", "MatrixOffset")))
    numbers, centre = content[name].ravel(), content["fixed"].ravel()
    matrix, shift = numbers[:9].reshape(3, 3), numbers[9:12]
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, shift + centre - matrix @ centre
    return np.asarray(np.linalg.inv(LPS @ whole @ LPS))


class Adapter:
    """A model of two methods on a device.

    Parameters
    ----------
    model : object
        With ``forward_embeddings``, and ``transform`` unless there is nothing to prepare.
    device : torch.device
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        if not callable(getattr(model, METHOD, None)):
            reason = f"{type(model).__name__} has no method {METHOD}."
            raise InputError(reason, None, "Give a class with transform(sample) and forward_embeddings(samples).")
        self.model: Any = model.to(device).eval() if isinstance(model, nn.Module) else model
        self.prepare: Callable[[Any], Any] = getattr(model, "transform", None) or (lambda sample: sample)

    def __call__(self, samples: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Embeddings (N, D) of samples, float32 on the CPU."""
        with torch.no_grad():
            found = self.model.forward_embeddings([self.prepare(sample) for sample in samples])
        return torch.stack([_vector(one) for one in found])


def _vector(one: Any) -> torch.Tensor:
    """The embedding of the whole volume: under its key, as an attribute, or the tensor itself."""
    value = one.get("global_embedding") if isinstance(one, dict) else getattr(one, "global_embedding", one)
    vector = torch.as_tensor(value).detach().float().cpu().flatten()
    if not vector.numel():
        raise InputError("the adapter returned an empty embedding.", None, "See its forward_embeddings.")
    return vector
