"""Distances against the strength of known changes. Inside: all of it may change."""
