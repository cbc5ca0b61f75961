"""Measurements of metrics: the command `dreamsim-bench`, and the programs in `programs/`.

All of it is inside and may change, but for what CONTRIBUTING.md tells how to add: metrics, data sets, methods.
"""
