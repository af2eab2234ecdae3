"""Trained blocks on disk and back: safetensors, a typed model card with a checksum, whole runs.

Stands between blocks and everything that trains or uses them; nothing is ever unpickled.
"""
