"""Data sets of human judgements. A file here with a dictionary `SOURCES` adds those in it."""
