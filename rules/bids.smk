# bids: which scans are there, and what is known of the people?
#
# REQUIRED INPUTS: the dataset at config bids_dir
# OUTPUTS:         results/bids/{scans,excluded,participants,notes}.tsv
#
# The index is no job: the main process brings it up to date when it starts, and jobs only read it.


rule bids:
    """Show the index of usable scans."""
    input:
        scans=index_scans,
        excluded=index_excluded,
