"""Data sets of human judgements. A file here with a dictionary `SOURCES` adds those in it.

Inside: all may change but what CONTRIBUTING.md names.
"""
