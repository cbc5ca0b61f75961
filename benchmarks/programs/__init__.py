"""Programs that are run by hand: `python -m benchmarks.programs.NAME`. Inside: all of it may change."""
