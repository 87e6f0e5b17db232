"""What the losses share: the row format, the soft-target InfoNCE, checks of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anatcl.base.words import does, plural

Targets = Mapping[str, Tensor]
# Rows per block of the log-sum-exp: bounds its working memory at BLOCK x N numbers (128 MiB at N = 8,192).
BLOCK = 4096
# Labels by name and what they must be.
SHAPES = {
    "measures": "a tensor (participants, regions, measures): thickness, volume, area of each region",
    "age": "a tensor (participants,) in years",
    "covariates": "a tensor (participants, 3): age in years, sex as 0 or 1, intracranial volume in mm3",
}


class Loss(nn.Module):
    """Base of all losses.

    Attributes
    ----------
    needs : tuple of str
        Keys of `targets` that the loss reads.
    head : str
        Head that feeds it, see `anatcl.models.ContrastiveModel`.
    parts : mapping of str to Loss
        Losses that it is a sum of, by method; none for a single one.
    """

    needs: tuple[str, ...] = ()
    head = "projection"
    parts: Mapping[str, Loss] = MappingProxyType({})

    def __call__(self, z: Any, targets: Targets | None = None, copies: int = 1, **labels: Tensor) -> Any:
        """Return the terms of `forward`, or with labels by name (``measures=``, ``age=``) the one loss to minimise.

        Labels by name are checked, and what the loss learns of them (`fit`) it learns from this batch.

        Parameters
        ----------
        z : Tensor of shape (N, D), rows of length 1
            View by view: row ``v * B + i`` is view v of person i.
        targets : mapping, optional
            What `fit` returned, for training over many batches.
        copies : int
            See `forward`.
        labels : Tensor
            ``measures`` (B, regions, 3), ``age`` (B,) in years, ``covariates`` (B, 3): age, sex (0, 1), TIV in mm3.

        Raises
        ------
        ValueError
            A label is missing, not finite, or does not fit the rows of `z`.
        """
        if targets is not None:
            return super().__call__(z, targets, copies)
        given = checked(z, labels, type(self).__name__, self.asks)
        try:
            found = self.fit(given)
        except KeyError as error:
            name = str(error.args[0])
            raise ValueError(f"{type(self).__name__} needs {name}=, which was not given: {SHAPES[name]}") from None
        self.check(found)
        return super().__call__(z, found, copies)["loss"]

    @property
    def asks(self) -> tuple[str, ...]:
        """Labels by name that the loss needs."""
        return tuple("measures" if name == "features" else name for name in self.needs)

    def forward(self, z: Tensor, targets: Targets, copies: int = 1) -> dict[str, Tensor]:
        """Return scalars; ``"loss"`` is the one to minimise, the others are its terms.

        Parameters
        ----------
        z : Tensor of shape (N, D)
        targets : mapping of name to Tensor with B rows
        copies : int
            Each row of `z` stands for so many equal views. Losses on B x B kernels use that; others repeat `z`.
        """
        raise NotImplementedError

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """Return the weight matrices (B, B) between subjects, by name; none where the loss has no kernel."""
        return {}

    def fit(self, raw: Targets) -> dict[str, Tensor]:
        """Learn statistics from the training part and return the targets that `forward` reads.

        Parameters
        ----------
        raw : mapping
            Labels of the n training scans: ``age`` (n,) years, ``measures`` (n, K, M), ``covariates`` (n, C).
        """
        return {name: raw[name] for name in self.needs}

    def statistics(self) -> dict[str, Any]:
        """Return what `fit` learned, for model.json."""
        return {}

    def reading(self) -> str:
        """Return how the kernel is read where there are several ways, for the log; empty where there is one."""
        return ""

    def check(self, targets: Targets) -> None:
        """Raise ValueError when a label that the loss needs is absent or not finite.

        Meant to be called once before training: on a GPU it waits for the device, so no step calls it.
        """
        for name in self.needs:
            if name not in targets:
                raise ValueError(f"{type(self).__name__} needs {name!r}, which was not given")
            bad = int((~torch.isfinite(targets[name])).sum())
            if bad:
                what = f"{plural(bad, f'value of {name!r}')} {does(bad, 'is', 'are')}"
                raise ValueError(f"{type(self).__name__}: {what} missing or not finite")


def checked(z: Tensor, labels: Targets, who: str, asks: tuple[str, ...]) -> dict[str, Tensor]:
    """Labels given by name, on the device of `z`; sentences where something is missing or does not fit."""
    if z.dim() != 2:
        raise ValueError(f"z has shape {tuple(z.shape)}, and it must be (rows, dimensions)")
    if (z.detach().norm(dim=1) - 1).abs().max() > 1e-2:
        raise ValueError("rows of z must have length 1: z = torch.nn.functional.normalize(z, dim=1)")
    for name in asks:
        if name not in labels:
            raise ValueError(
                f"{who} needs {name}=, which was not given: {SHAPES.get(name, 'one value per participant')}"
            )
    made = {name: torch.as_tensor(value).to(z.device) for name, value in labels.items() if name in SHAPES}
    if unknown := sorted(set(labels) - set(SHAPES)):
        raise ValueError(f"{unknown[0]}= is not a label of a loss; known: {', '.join(SHAPES)}")
    for name, value in made.items():
        if len(value) == 0 or len(z) % len(value):
            raise ValueError(
                f"{name} has {len(value)} rows, and z has {len(z)}: z must be whole views of all participants"
            )
        if value.dim() != 3 and name == "measures":
            raise ValueError(
                f"measures have shape {tuple(value.shape)}, and they must be (participants, regions, measures)"
            )
    return made


def upcast(x: Tensor) -> Tensor:
    """Return `x` in float32, or as it is when it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def views_of(z: Tensor, subjects: int, copies: int = 1) -> int:
    """Return V, the number of views in `z` (each standing for `copies` equal ones).

    Raises
    ------
    ValueError
        When the rows are not a multiple of the subjects, or when there is only one row (no pair).
    """
    rows = z.shape[0]
    if subjects == 0 or rows % subjects:
        raise ValueError(f"{plural(rows, 'embedding')} cannot make whole views of {plural(subjects, 'subject')}")
    if rows * copies < 2:
        raise ValueError("a contrastive loss needs at least two rows: two subjects, or two views of one")
    return rows // subjects


def check_labels(z: Tensor, labels: Tensor, name: str) -> Tensor:
    """Return `labels` in the type of the loss; on the CPU, where it costs no synchronisation, refuse NaN."""
    labels = labels.to(torch.float64 if z.dtype == torch.float64 else torch.float32)
    if labels.device.type == "cpu" and not torch.isfinite(labels).all():
        raise ValueError(f"{name} holds values that are missing or not finite")
    return labels


def similarities(z: Tensor, temperature: float) -> Tensor:
    """Return ``s`` (N, N) = z z^T / temperature in float32 or float64, autocast switched off."""
    with torch.autocast(z.device.type, enabled=False):
        z = upcast(z)
        return z @ z.T / temperature


def without_diagonal(s: Tensor, value: float | bool = float("-inf")) -> Tensor:
    """Return a copy of square `s` whose diagonal is `value`."""
    return s.masked_fill(torch.eye(s.shape[0], dtype=torch.bool, device=s.device), value)


def _block_logsumexp(z: Tensor, start: int, stop: int, temperature: float, copies: int) -> Tensor:
    s = z[start:stop] @ (z / temperature).T
    own = math.log((copies - 1) / copies) if copies > 1 else float("-inf")
    s.diagonal(start).add_(own)
    return torch.logsumexp(s, dim=1) + math.log(copies)


def log_denominators(z: Tensor, temperature: float, copies: int = 1) -> Tensor:
    """Return ``log sum_{t != i} exp(s_it)`` for every row i, shape (N,).

    Beyond `BLOCK` rows it goes block by block and recomputes each block in the backward pass, so that the memory grows
    with N and not with N^2.

    Parameters
    ----------
    z : Tensor of shape (N, D)
    temperature : float
    copies : int
        Each row stands for so many equal rows: the sum then has `copies` terms for every other row and
        ``copies - 1`` for the row itself.
    """
    rows = z.shape[0]
    with torch.autocast(z.device.type, enabled=False):
        z = upcast(z)
        if rows <= BLOCK:
            return _block_logsumexp(z, 0, rows, temperature, copies)
        step = max(1, BLOCK * BLOCK // rows)
        parts = [
            checkpoint(_block_logsumexp, z, i, min(i + step, rows), temperature, copies, use_reentrant=False)
            for i in range(0, rows, step)
        ]
        return torch.cat(parts)


def soft_info_nce(z: Tensor, weights: Mapping[str, Tensor], temperature: float, copies: int = 1) -> dict[str, Tensor]:
    """Soft-target InfoNCE for one or several weight matrices at once.

    ``L_w = -(1/N) sum_i sum_{j != i} w~_ij log( exp(s_ij) / sum_{t != i} exp(s_it) )``, where ``w~`` are the weights of
    the N rows (those of the subjects, repeated over the views, so that a twin view has the diagonal's weight), with
    rows normalised to one without the diagonal. See Dufumier et al. 2021 (arXiv 2106.08808), Barbano et al. 2023
    (arXiv 2211.08326).

    The rows of ``w~`` sum to one, so the loss is ``mean_i lse_i - (1/N) sum_ij w~_ij s_ij``; the second sum over views
    needs only the views' sums ``Z_i = sum_v z_iv``: B x B numbers instead of N x N.

    Parameters
    ----------
    z : Tensor of shape (N, D)
    weights : mapping of name to Tensor of shape (B, B)
        Non-negative where they should attract; symmetric or not.
    temperature : float
    copies : int
        Views that are the same tensor need not be repeated: ``copies=2`` gives the loss (and gradient) of
        ``z.repeat(2, 1)`` at a quarter of the cost.

    Returns
    -------
    dict of name to scalar Tensor
        One loss for each weight matrix.
    """
    subjects = next(iter(weights.values())).shape[0]
    distinct = views_of(z, subjects, copies)
    views = distinct * copies
    z = upcast(z)
    repulsion = log_denominators(z, temperature, copies).reshape(distinct, subjects).sum(0) * copies
    with torch.autocast(z.device.type, enabled=False):
        stacked = z.reshape(distinct, subjects, -1)
        total = stacked.sum(0) * copies
        pairs = total @ (total / temperature).T
        own = stacked.square().sum((0, 2)) * (copies / temperature)
        return {name: _soft_term(pairs, pairs.diagonal() - own, repulsion, w, views) for name, w in weights.items()}


def _soft_term(pairs: Tensor, twins: Tensor, repulsion: Tensor, w: Tensor, views: int) -> Tensor:
    """Mean over the rows, from sums over views; a row without any positive weight counts as 0.

    Parameters
    ----------
    pairs : Tensor of shape (B, B)
        ``sum_{v, u} s_(iv)(ju)``.
    twins : Tensor of shape (B,)
        ``sum_{v != u} s_(iv)(iu)``.
    repulsion : Tensor of shape (B,)
        ``sum_v lse_(iv)``.
    w : Tensor of shape (B, B)
    views : int
    """
    if views == 1:  # no twins; taking the diagonal out beforehand keeps small weights from drowning in it
        w = without_diagonal(w, 0.0)
    own = w.diagonal()
    mass = views * w.sum(1) - own
    some = mass > 0
    # A product of row vectors: the (B, B) matrix w * pairs is never made.
    weighted = torch.einsum("ij,ij->i", w, pairs) + own * (twins - pairs.diagonal())
    attraction = weighted / torch.where(some, mass, torch.ones_like(mass))
    return torch.where(some, repulsion - attraction, torch.zeros_like(mass)).sum() / (views * w.shape[0])
