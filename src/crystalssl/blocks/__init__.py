"""The blocks: one module here is one block, but for ``contract.py``, ``registry.py`` and ``_*``."""
