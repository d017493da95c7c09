"""Steps with effects: compile, link, inject, write."""
