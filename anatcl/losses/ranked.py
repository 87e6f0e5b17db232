"""Log-sum-exps over the pairs that a ranking of each row selects."""

from __future__ import annotations

import torch
from torch import Tensor

from anatcl.losses.base import without_diagonal


def ranked_log_sums(s: Tensor, key: Tensor, ties: bool) -> tuple[Tensor, Tensor]:
    """For each pair (i, k) the log-sum-exp of ``s_it`` over all t != i that rank before k.

    Sorting each row once and cumulating costs O(N^2 log N) and N x N numbers; the loops of the formula cost N^3.

    Parameters
    ----------
    s : Tensor of shape (N, N)
    key : Tensor of shape (N, N)
        Rank of t in row i: small keys first.
    ties : bool
        Whether t with the key of k (k itself among them) belong to the sum.

    Returns
    -------
    log_sums : Tensor of shape (N, N)
        Meaningless where the sum is empty (and on the diagonal).
    some : bool Tensor of shape (N, N)
        Where the sum is not empty; false on the diagonal.
    """
    order = without_diagonal(key, float("inf"))  # a row itself ranks last and is cut off
    ranked, where = order.sort(dim=1, stable=True)
    cumulated = torch.logcumsumexp(s.gather(1, where)[:, :-1], dim=1)
    count = torch.searchsorted(ranked[:, :-1].contiguous(), order.contiguous(), right=ties)
    some = without_diagonal(count > 0, False)
    return cumulated.gather(1, (count - 1).clamp(0, cumulated.shape[1] - 1)), some
