"""Judges wheels, files and environments: reads with `devicecode` and `wheels`, answers in `model`."""
