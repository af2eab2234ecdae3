"""CIF text to structures: gemmi reads the columns, symmetry is expanded, occupancies are kept.

``reading`` goes from bytes to entries; ``tags`` gathers what a block says under any spelling,
``sites`` its atom lists, ``labels`` the elements behind their names, ``symbols`` and ``operations``
its symmetry, ``settings`` the ways in which both can be meant, ``stated`` what the content must
add up to, ``expansion`` all sites of the cell.
"""

from crystalssl.structures.formats.cif.reading import read_cif

__all__ = ["read_cif"]
