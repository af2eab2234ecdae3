"""Canonical crystals -> inputs: one periodic graph for features, named physics and tuned encoders.

What a property model needs of crystals, computed once each and only where something reads it.
After inputs.py; used by property_model.py, estimators.py and explanation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import Skip
from crystalssl.features.extractor import Extractor
from crystalssl.properties.inputs import COMPUTED, Descriptors, Inputs, build_inputs
from crystalssl.representation.graph import periodic_graph
from crystalssl.structures.canonical import CanonicalResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Describer:
    """What turns crystals into inputs.

    Attributes:
        extractor: encoders and what mixes their features.
        physics: way to named physics; see ``inputs.py``.
    """

    extractor: Extractor
    physics: str = COMPUTED

    def describe(
        self,
        canonical: CanonicalResult,
        described: Descriptors,
        advance: Callable[[int, int], None] | None = None,
    ) -> tuple[Inputs, list[Skip]]:
        """Inputs of canonical crystals, and what has no finite features.

        Args:
            canonical: crystals.
            described: the user's own columns of the same crystals.
            advance: told how many are done.
        """
        graph = periodic_graph(canonical.crystals)
        source: CanonicalResult | Corpus = canonical
        if len(canonical.crystals):
            source = Corpus.from_crystals(canonical, targets=False, graph=graph)
        blocks, odd = self.extractor.encode(source, advance).finite()
        if not odd:
            inputs = build_inputs(
                canonical, blocks, self.extractor, described, physics=self.physics, graph=graph
            )
            return inputs, odd
        lost = {skip.id for skip in odd}
        names = canonical.crystals.ids.tolist()
        kept = np.array([at for at, name in enumerate(names) if name not in lost], dtype=np.int64)
        described = replace(described, values=described.values[kept])
        inputs = build_inputs(
            take(canonical, kept), blocks, self.extractor, described, physics=self.physics
        )
        return inputs, odd


def take(canonical: CanonicalResult, rows: Any) -> CanonicalResult:
    """Some rows of canonical crystals."""
    symmetry = canonical.symmetry
    return CanonicalResult(
        crystals=canonical.crystals.take(rows),
        symmetry=replace(
            symmetry,
            space_group=symmetry.space_group[rows],
            crystal_system=symmetry.crystal_system[rows],
            failed=symmetry.failed[rows],
        ),
        kept=canonical.kept[rows],
        skipped=[],
    )
