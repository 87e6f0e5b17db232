"""The class of the authors' package `anatcl`, with its arguments, so that no user needs both packages."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from anatcl.base.errors import InputError
from anatcl.base.words import nearest
from anatcl.models import build_model

MODELS, DESCRIPTORS, FOLDS = ("resnet18",), ("global", "local"), range(5)


class AnatCL(nn.Module):
    """An encoder of the authors' published weights.

    Like the authors' class, it takes volumes (N, 1, 121, 128, 121) as CAT12 stores them and returns features (N, 512),
    or with the head L2-normalised projections (N, 128). Weights are downloaded when first used, checked by digest, kept
    under ``~/.cache/anatcl``, and read without executing code of their pickles.

    Parameters
    ----------
    model : {"resnet18"}
    descriptor : {"global", "local"}
    fold : int, 0 to 4
    use_head : bool
    pretrained : bool
        False: random weights, nothing is downloaded.
    weights : path, optional
        A local file of weights.

    Raises
    ------
    InputError
        An argument is not one of these, or the weights cannot be downloaded.
    """

    def __init__(
        self,
        model: str = "resnet18",
        descriptor: str = "global",
        fold: int = 0,
        use_head: bool = False,
        pretrained: bool = True,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("model", model, MODELS),
            ("descriptor", descriptor, DESCRIPTORS),
            ("fold", fold, FOLDS),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}, which is unknown.", None, nearest(str(value), map(str, known)))
        self.model, self.descriptor, self.fold, self.use_head = model, descriptor, fold, use_head
        self.backbone = build_model(model)
        if pretrained or weights:
            from anatcl.pretrain.official import official_model

            source = str(weights) if weights else f"anatcl-g3/{descriptor}/fold-{fold}"
            self.backbone.load_state_dict(official_model(source)[0].state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Map volumes (N, 1, X, Y, Z) to features, or to projections with `use_head`."""
        found: Tensor = self.backbone(x) if self.use_head else self.backbone.embed(x)
        return found
