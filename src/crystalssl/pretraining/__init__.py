"""A corpus and a block into a trained block: one loop for every block, and its monitors.

Stands between blocks, datasets and hub below and the adapters and the command line above.
"""
