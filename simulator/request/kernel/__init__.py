"""Compiled event loop of the request fidelity. MODEL.md R1-R13 say what it does."""
