"""Measurements of metrics. Each module is a program: `python -m benchmarks.NAME`."""
