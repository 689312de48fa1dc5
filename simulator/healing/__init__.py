"""Healing loops: controllers that observe and act on a period."""
