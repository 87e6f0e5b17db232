"""Frozen features to tables: tasks, leak-free protocols, probes, metrics, intervals, tests.

Needs only numpy, pandas, scipy, scikit-learn, PyYAML, and torch where an encoder is run.
"""
