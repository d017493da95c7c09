"""The program that is called in the place of nvcc, once for each call of a build.

It is copied out of the package into the overlay and run there alone: only the standard library is used, little of it
(no `pathlib`, no `typing`), because a build calls nvcc hundreds of times. It reads nvcc's command line, drops
architectures that this nvcc does not know, adds those of the target, writes one line to the log, and becomes the real
nvcc (`execv`: exit code, signals and output are nvcc's own).
"""
