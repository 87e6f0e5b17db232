"""3-D encoders and projection heads; nothing here but torch is imported (MONAI only when DenseNet is asked for)."""

from anatcl.models.contrastive import ContrastiveModel
from anatcl.models.registry import ENCODERS, build_encoder, build_model
from anatcl.models.resnet import ResNet3d

__all__ = ["ENCODERS", "ContrastiveModel", "ResNet3d", "build_encoder", "build_model"]
