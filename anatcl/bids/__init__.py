"""Index of a BIDS dataset: which T1-weighted scans are usable, what is known of them, what is left out and why.

The index is a set of small tables in ``results/bids``, not a database. :func:`anatcl.bids.index.refresh` lists the
dataset each time it is called and opens only files that are new or changed since the last call.
"""
