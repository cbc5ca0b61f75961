"""How fast: ours against the released package, other metrics and what the machine can do (`dreamsim-bench speed`).

Inside: all of it may change.
"""
