"""Recipes: what has to change in one library, for a range of versions. Data in `patches/`; read and matched here."""
