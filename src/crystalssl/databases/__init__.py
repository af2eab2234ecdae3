"""Databases of crystals to structures: OPTIMADE, Materials Project, matminer's files, LeMat-Bulk.

Each source is one file that turns a query into pages; ``pages.py`` keeps pages on disk, so that a
fetch that was stopped goes on, and ``registry.py`` knows them all by name.
"""
