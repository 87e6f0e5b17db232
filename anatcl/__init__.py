"""From a BIDS dataset of T1-weighted scans to AnatCL benchmark tables."""

__version__ = "0.1.0"
