"""The package as other libraries expect it: a scikit-learn transformer, a matminer featurizer.

Stands on features, hub and structures; nothing below knows of it.
"""
