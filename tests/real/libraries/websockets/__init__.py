"""Stands for the library of that name where it is not installed: what the example uses of it, and no more."""
