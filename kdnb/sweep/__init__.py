"""Sweeps: plans of many runs, one run, many runs on one machine or a cluster, tables (``kdnb sweep``, notebook 03)."""
