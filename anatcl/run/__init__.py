"""Running the workflow: the command ``run``, the BIDS-App call, status, first configuration, failures."""
