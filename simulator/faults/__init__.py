"""Faults: what happens to a region without anyone's choice."""
