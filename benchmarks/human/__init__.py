"""Agreement of metrics with people: data sets, measurement, scores, and the command `dreamsim-bench human`.

Inside: all of it may change.
"""
