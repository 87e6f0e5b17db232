"""Packed arrays, folds, pretraining of encoders and their use.

Needs torch, numpy, pandas, scipy, scikit-learn, safetensors and PyYAML; nibabel only where maps are read.
"""
