"""Matbench: a reader of its tasks, its folds as a split protocol, and a writer of its records."""
