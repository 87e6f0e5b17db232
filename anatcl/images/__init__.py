"""Volumes on disk and in memory: an array never travels without its affine."""

from anatcl.images.volume import Volume, load, save

__all__ = ["Volume", "load", "save"]
