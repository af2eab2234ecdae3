"""What is asked of features: one module a scenario, each a declaration on the grid.

A scenario says which targets, splits, feature sets and heads are crossed, what is compared, and
what would count as failure. After experiment.py and statistics.py.
"""
