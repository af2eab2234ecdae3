"""JSON documents to structures: pymatgen, matminer, pandas, OPTIMADE, JARVIS and ASE shapes.

``shapes`` finds the entries of a document, ``entries`` turns one into a structure, ``reading``
goes from bytes to entries. Nothing is unpickled and no class named in a file is imported.
"""

from crystalssl.structures.formats.json.reading import read_json

__all__ = ["read_json"]
