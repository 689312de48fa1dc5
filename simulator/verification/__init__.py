"""The program against published theory: one row a claim, with a verdict that can fail."""
