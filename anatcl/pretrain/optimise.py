"""Optimiser, learning rate and moving average of the weights: functions of the options and of how far a run is."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from anatcl.base.words import plural
from anatcl.spec.training import Options

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_optimizer(model: nn.Module, options: Options) -> torch.optim.Optimizer:
    """The optimiser of a model's parameters: Adam adds the weight decay to the gradient, AdamW shrinks the weights."""
    kind = OPTIMISERS[options.optimiser]
    return kind(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)


def total_steps(options: Options, scans: int) -> int:
    """Optimiser steps of a whole training on so many scans."""
    batches = scans // min(options.batch_size, scans)
    steps = options.epochs * math.ceil(batches / options.accumulate)
    return min(steps, options.max_steps) if options.max_steps else steps


def too_slow(options: Options, total: int) -> list[str]:
    """Sentences on options that look back or ahead on more steps than a training of `total` steps has."""
    found = []
    if options.warmup_steps >= total:
        found.append(
            f"warmup_steps is {options.warmup_steps} and the training has {plural(total, 'step')}: its learning rate "
            f"never reaches {options.learning_rate:g}."
        )
    if options.ema and 1 / (1 - options.ema) > total:
        found.append(
            f"ema {options.ema:g} averages over some {1 / (1 - options.ema):.0f} steps and the training has {total}: "
            "what is written stays close to the weights of the first step."
        )
    return found


def learning_rate(options: Options, step: int, epoch: int, total: int) -> float:
    """Learning rate of a step.

    Parameters
    ----------
    options : Options
    step, epoch : int
        Steps and epochs before this one.
    total : int
        Steps of the whole training, which the cosine needs.

    Returns
    -------
    float
        ``learning_rate`` times a linear rise over `warmup_steps`, times the schedule: ``step``, `lr_decay` every
        `lr_decay_epochs` epochs; ``cosine``, half a cosine from 1 at the end of the warm-up to 0 after the last step;
        ``constant``, 1.
    """
    warm = min(1.0, (step + 1) / options.warmup_steps) if options.warmup_steps else 1.0
    factor = 1.0
    if options.schedule == "step":
        factor = options.lr_decay ** (epoch // options.lr_decay_epochs)
    elif options.schedule == "cosine":
        done = (step - options.warmup_steps) / max(1, total - options.warmup_steps)
        factor = (1 + math.cos(math.pi * min(1.0, max(0.0, done)))) / 2
    return options.learning_rate * warm * factor


def make_average(model: nn.Module, options: Options) -> AveragedModel | None:
    """An exponential moving average of weights and BatchNorm statistics, or None; it begins as the first step's."""
    if not options.ema:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=True)
