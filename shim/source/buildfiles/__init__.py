"""Build files read as facts: setup.py, CMake, Makefiles and their like. Nothing of a package is run."""
