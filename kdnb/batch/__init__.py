"""Batch runs: notebooks through papermill, plans of many runs, collecting (``kdnb sweep``)."""
