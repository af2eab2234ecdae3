"""Property models: labelled crystals to predictions with intervals, domain and nearest crystals.

Flow: labels.py, inputs.py, candidates.py, cross_validation.py, stacking.py, intervals.py,
domain.py, fitting.py, storage.py and model.py; estimators.py is scikit-learn's view of it.
"""
