"""Checkpoints and detectors, and the commands that fetch them."""
