"""The steps of the stage, as the command line calls them."""
