"""A head -> the modules whose code makes its results, for :meth:`.store.Store.key`.

A list kept by hand until keys follow imports; models/ itself knows nothing of caches.
"""

from __future__ import annotations

import sys
from types import ModuleType

from crystalssl.models import Head, arrays, bins, contract, linear, registry, scaling
from crystalssl.models.ridge import decomposition, gram, solve

LINEAR = (arrays, scaling, gram, decomposition, solve)
"""Modules of ridge regression and least squares."""


def head_code(head: Head) -> list[ModuleType]:
    """Modules that make the result of a head.

    Args:
        head: any head.
    """
    return [sys.modules[type(head).__module__], *LINEAR, bins, contract, linear, registry]
