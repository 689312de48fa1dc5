"""Data-plane policies that are not fields of a pool or a dependency."""
