"""Scenarios that drive the real `syncline` program with programs nobody here wrote."""
