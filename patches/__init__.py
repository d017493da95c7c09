"""Recipes: data only. See docs/recipes.md."""
