"""Slow transcriptions: each formula written as its loops, in float64, one number at a time."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor


def cosine(u: list[float], v: list[float]) -> float:
    nu, nv = math.sqrt(sum(a * a for a in u)), math.sqrt(sum(b * b for b in v))
    return sum(a * b for a, b in zip(u, v, strict=True)) / (nu * nv) if nu and nv else 0.0


def age_weights(age: Tensor, sigma: float) -> list[list[float]]:
    y = age.tolist()
    return [[math.exp(-((a - b) ** 2) / (2 * sigma**2)) for b in y] for a in y]


def global_weights(measures: Tensor) -> list[list[float]]:
    """beta_ij: mean over measures m of cos(omega_m^i, omega_m^j), omega over regions."""
    n, _, kinds = measures.shape
    omega = [[measures[i, :, m].tolist() for m in range(kinds)] for i in range(n)]
    return [[sum(cosine(omega[i][m], omega[j][m]) for m in range(kinds)) / kinds for j in range(n)] for i in range(n)]


def local_weights(measures: Tensor) -> list[list[float]]:
    """alpha_ij: mean over regions k of cos(g(phi_k^i), g(phi_k^j)), g = min-max per measure over the regions."""
    n, regions, kinds = measures.shape
    phi = []
    for i in range(n):
        scaled = [[0.0] * kinds for _ in range(regions)]
        for m in range(kinds):
            column = measures[i, :, m].tolist()
            low, high = min(column), max(column)
            for k in range(regions):
                scaled[k][m] = (column[k] - low) / (high - low) if high > low else 0.0
        phi.append(scaled)
    return [[sum(cosine(phi[i][k], phi[j][k]) for k in range(regions)) / regions for j in range(n)] for i in range(n)]


def similarities(z: Tensor, tau: float) -> list[list[float]]:
    rows = z.tolist()
    return [[sum(a * b for a, b in zip(u, v, strict=True)) / tau for v in rows] for u in rows]


def soft(z: Tensor, w: list[list[float]], tau: float) -> float:
    """-(1/N) sum_i sum_{j!=i} w~_ij log( exp(s_ij) / sum_{t!=i} exp(s_it) ), weights of subjects tiled over views."""
    n, b = len(z), len(w)
    s = similarities(z, tau)
    total = 0.0
    for i in range(n):
        mass = sum(w[i % b][j % b] for j in range(n) if j != i)
        if mass == 0:
            continue
        denominator = sum(math.exp(s[i][t]) for t in range(n) if t != i)
        for j in range(n):
            if j != i:
                total -= w[i % b][j % b] / mass * math.log(math.exp(s[i][j]) / denominator)
    return total / n


@pytest.fixture(scope="session")
def slow() -> SimpleNamespace:
    """The transcriptions by name."""
    return SimpleNamespace(**{k: v for k, v in globals().items() if callable(v) and getattr(v, "__module__", "")})


@pytest.fixture
def batch(rng) -> SimpleNamespace:
    """Six subjects, two views, in float64: z (12, 5), age (6,), measures (6, 4, 3)."""
    return make_batch(rng, subjects=6, views=2)


def make_batch(rng, subjects: int, views: int) -> SimpleNamespace:
    z = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(views * subjects, 5))), dim=1)
    age = torch.from_numpy(rng.uniform(20, 40, subjects))
    return SimpleNamespace(z=z, age=age, measures=torch.from_numpy(rng.uniform(1, 3, (subjects, 4, 3))))
