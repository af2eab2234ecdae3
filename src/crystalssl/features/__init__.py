"""Crystals and trained blocks into features, in input order, in memory and on disk.

Stands between the hub below and evaluation and adapters above.
"""
