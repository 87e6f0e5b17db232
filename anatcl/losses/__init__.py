"""Pretraining losses, one per file; only torch is imported.

Shapes and words used in every file:

- ``B`` subjects in the batch (of all ranks), ``V`` views of each, ``N = V * B`` rows, ``D`` dimensions.
- ``z`` : Tensor of shape (N, D), L2-normalised rows, view by view: row ``v * B + i`` is view ``v`` of subject ``i``.
- ``s_ij = z_i . z_j / temperature``, always in float32 (or float64), whatever the autocast type.
- Labels are given per subject: ``age`` (B,) in years, ``features`` (B, F) descriptors made once by ``prepare``.
"""
