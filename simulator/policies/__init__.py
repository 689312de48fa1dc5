"""Policies of the data plane: how callers insist and how pools defend themselves.

One file a policy: what it models, its equation and source, its settings, the columns of the tables
by which both compiled data planes see it, and its decisions as plain functions of numbers. The
readable twins call these functions, the kernels compile them: a rule is written once.
"""
