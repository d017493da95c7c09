"""Source files as data: what they test and list, and edits of them. Nothing here runs them or writes to disk."""
