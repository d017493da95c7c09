"""Is a result what was promised? Reads it again with the same code that scanned the original."""
