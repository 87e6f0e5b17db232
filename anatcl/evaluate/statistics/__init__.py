"""Metrics, intervals, paired tests and controls."""
