"""Programs that are run by hand: `python -m benchmarks.programs.NAME`."""
