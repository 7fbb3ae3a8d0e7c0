"""Sweeps: plans of many runs, one run, many runs here or on a cluster, tables (``kdnb sweep``)."""
