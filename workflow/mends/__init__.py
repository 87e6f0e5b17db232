"""Patches of Snakemake: they make large plans smaller and faster, and change nothing else.

Snakemake has no public way to do what they do, so they replace parts of it that may change with any release. Each is
bound to the versions it was tested with; the plan is the same without them.
"""

from mends.bounds import PLAIN, Mend
from mends.catalogue import MENDS, apply_mends, lift_default_rate, ready

__all__ = ["MENDS", "PLAIN", "Mend", "apply_mends", "lift_default_rate", "ready"]
