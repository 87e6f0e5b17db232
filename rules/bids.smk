# bids: the usable scans, and the phenotypes of the participants.
#
# REQUIRED INPUTS: the dataset at config bids_dir
# OUTPUTS:         results/bids/{scans,excluded,participants,notes}.tsv
#
# The index is not a job: the main process updates it at the start, and jobs only read it.


rule bids:
    """Show the index of usable scans."""
    input:
        scans=index_scans,
        excluded=index_excluded,
