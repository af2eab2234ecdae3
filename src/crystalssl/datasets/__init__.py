"""Crystals into training material: a ragged corpus, batches by index, splits by formula.

Stands between representation and pre-training; knows nothing of blocks beyond what they read.
"""
