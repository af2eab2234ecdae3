"""Stored results -> the sections of the page, one module for each kind.

Beside ``read.py``, which reads the folder, and before ``html.py``, which renders what these make.
"""
