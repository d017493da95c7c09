"""Rebuilds: a source tree, the archs it would be compiled for, and the wheel that comes of it."""
