"""Tuning a metric on human votes, and what comes of it: losses, loop, checkpoints, evaluation."""
