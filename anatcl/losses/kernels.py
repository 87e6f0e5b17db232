"""Kernels between subjects, and how much their weights vary."""

from __future__ import annotations

import torch
from torch import Tensor


def age_rbf(age: Tensor, sigma: float) -> Tensor:
    """Return ``exp(-(y_i - y_j)^2 / (2 sigma^2))``, shape (B, B).

    Parameters
    ----------
    age : Tensor of shape (B,), years
    sigma : float, years
    """
    return torch.exp(-((age[:, None] - age[None, :]) ** 2) / (2 * sigma**2))


def cosine_mean(features: Tensor, groups: int) -> Tensor:
    """Return the mean over groups of cosines, from unit vectors laid one after another.

    Parameters
    ----------
    features : Tensor of shape (B, F)
        For each subject `groups` unit vectors concatenated (see `unit_vectors`).
    groups : int

    Returns
    -------
    Tensor of shape (B, B)
        One matrix product instead of a (B, B, groups) array; never in half precision, in which cosines near 1 are
        all the same.
    """
    with torch.autocast(features.device.type, enabled=False):
        return features @ features.T / groups


def unit_vectors(x: Tensor) -> Tensor:
    """Scale the last axis of `x` to length one and lay the vectors of a subject one after another.

    A vector of zeros stays zero (its cosine with anything counts as 0, as in torch's ``cosine_similarity``).

    Parameters
    ----------
    x : Tensor of shape (B, groups, n)

    Returns
    -------
    Tensor of shape (B, groups * n)
    """
    length = x.norm(dim=2, keepdim=True)
    return (x / torch.where(length > 0, length, torch.ones_like(length))).flatten(1)


def squared_distances(x: Tensor) -> Tensor:
    """Return squared Euclidean distances between the rows of `x` (B, F), shape (B, B), never negative."""
    square = x.square().sum(1)
    with torch.autocast(x.device.type, enabled=False):
        return (square[:, None] + square[None, :] - 2 * x @ x.T).clamp_min(0)


def perplexity(weights: Tensor) -> float:
    """Mean perplexity of the rows of `weights` without the diagonal, as a share of uniform (1 = all equal).

    Parameters
    ----------
    weights : Tensor of shape (B, B), B >= 2

    Returns
    -------
    float
        ``mean_i exp(H(w~_i)) / (B - 1)`` over the rows that have a weight (see `without_weight`); 0 where none has.
        Waits for the device: for start-up messages, not for the step.
    """
    w = weights.double().clone().clamp_min(0)
    w.fill_diagonal_(0)
    w = w[w.sum(1) > 0]
    if len(w) == 0:
        return 0.0
    w = w / w.sum(1, keepdim=True)
    entropy = -torch.where(w > 0, w * w.clamp_min(1e-300).log(), torch.zeros_like(w)).sum(1)
    return float(entropy.exp().mean() / (w.shape[1] - 1))


def without_weight(weights: Tensor) -> float:
    """Share of the rows of `weights` (B, B) without a positive weight beside the diagonal: people whom nobody attracts.

    In `anatcl.losses.base.soft_info_nce` such a person's own other view is all that is left, or nothing.
    """
    off = weights.clone().fill_diagonal_(0)
    return float((off <= 0).all(1).double().mean())
