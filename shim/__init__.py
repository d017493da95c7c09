"""shim: does this CUDA wheel run on that GPU, and how can it be made to."""

__version__ = "0.1.0"
