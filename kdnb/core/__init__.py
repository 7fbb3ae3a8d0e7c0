"""What every room stands on: settings, runs, statistics, results folder, report, shared plots, errors, progress."""
