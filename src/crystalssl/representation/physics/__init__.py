"""Named numbers of a crystal: label-free, with units, for trees and for people.

``compute_physics`` turns canonical crystals into one row of numbers each; ``docs/physics.md`` lists
them. One file a kind of number; ``environment.py`` is what they read.
"""

from crystalssl.representation.physics.named_numbers import (
    Physics,
    compute_physics,
    physics_columns,
)

__all__ = ["Physics", "compute_physics", "physics_columns"]
