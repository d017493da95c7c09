"""Tests of the compute capability in source files: where, in which form, and what they do on the target."""
