"""What every room stands on: settings, runs, statistics, results, report, plots, progress, errors.

All notebooks use it.
"""
