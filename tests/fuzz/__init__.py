"""Mutated inputs for every reader: ``python -m tests.fuzz --reader cif --minutes 10``."""
