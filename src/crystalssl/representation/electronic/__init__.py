"""Electrons of crystals from a tight binding without fitted numbers; see docs/electronic.md.

Canonical crystals -> about 120 named numbers each (:func:`describe`). Reading order: shells,
exchange, radial, atoms (free atoms, once, shipped as a table); pairs (two-centre integrals, made
when two elements first meet); bloch, kpoints, ewald, levels, charges, spin (one crystal);
quantities, describe (its numbers).
"""

from crystalssl.representation.electronic.describe import (
    ElectronicNumbers,
    describe,
    quantities,
)

__all__ = ["ElectronicNumbers", "describe", "quantities"]
