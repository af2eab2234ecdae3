"""Electrons of crystals from a tight binding without fitted numbers; see docs/electronic.md.

Canonical crystals -> about 120 named numbers each (:func:`describe`). Reading order: shells,
exchange, radial, atoms (free atoms, once, shipped as a table); pairs (two-centre integrals, made
when two elements first meet); bloch, kpoints, ewald, levels, charges, spin (one crystal);
quantities, electronic_numbers (its numbers).
"""

from crystalssl.representation.electronic.electronic_numbers import (
    ElectronicNumbers,
    columns,
    describe,
)

__all__ = ["ElectronicNumbers", "columns", "describe"]
