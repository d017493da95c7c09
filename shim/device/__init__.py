"""What can be asked of a real GPU."""
