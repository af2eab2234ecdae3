"""Answers of servers and files from them, with the standard library alone.

Under everything that may use a network (``databases``, ``hub``); nothing here is called unless a
user names a database, a repository or an address.
"""
