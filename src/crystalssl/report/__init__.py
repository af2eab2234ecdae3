"""A run folder in, one self-contained ``report.html`` out.

After evaluation/. Reads what other stages have stored; trains nothing and evaluates nothing.
"""
