"""Scenarios: features and labels in, tidy rows out.

After features/, before report/. Nothing here trains an encoder and nothing here plots.
"""
