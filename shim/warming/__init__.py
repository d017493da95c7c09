"""Compile beforehand what a package would have compiled on first use, as far as that goes without its code."""
