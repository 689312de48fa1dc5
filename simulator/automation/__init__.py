"""Scripts as actors: what acts on the region without a person at the keyboard."""
