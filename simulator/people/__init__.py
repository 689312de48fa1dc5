"""People: who is paged, finds out, and repairs."""
