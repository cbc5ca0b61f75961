"""Distances against the strength of known changes."""
