"""Canonical crystals -> inputs: one periodic graph for features, named physics and tuned encoders.

What a property model needs of crystals, computed once each and only where something reads it.
After inputs.py; used by property_model.py, estimators.py and explanation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import Skip
from crystalssl.features.encoding import Extractor
from crystalssl.properties.inputs import (
    COMPUTED,
    Descriptors,
    Inputs,
    build_inputs,
    frozen_columns,
)
from crystalssl.properties.physics import way_of
from crystalssl.properties.tuned_encoders import TunedEncoders
from crystalssl.representation.graph import PeriodicGraph, periodic_graph
from crystalssl.representation.physics.electron_numbers import OFF
from crystalssl.structures.canonical import CanonicalResult

REPORTED = 1024
"""Crystals whose electrons are computed between two reports of progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Describer:
    """What turns crystals into inputs.

    Attributes:
        extractor: encoders and what mixes their features.
        physics: way to named physics; see ``inputs.py``.
        electrons: whether numbers of the electrons stand among named physics where they are
            computed; older models have none. Predicted ones are left to the features: beside
            these they won nothing and made intervals narrow, since a student knows the crystals
            that it was taught on better than new ones.
        tuned: encoders trained on with labels, or None.
    """

    extractor: Extractor
    physics: str = COMPUTED
    electrons: bool = True
    tuned: TunedEncoders | None = None

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
            advance: told how many are done; of their electrons first, where these are computed.
        """
        graph: PeriodicGraph | None = periodic_graph(canonical.crystals)
        extractor, level = self.extractor, self.level
        source = Corpus.from_crystals(canonical, targets=False, graph=graph)
        if level is not None:  # once, for the block and for named physics
            source = _with_electrons(source, level, advance)
            extractor = replace(extractor, electrons=None)
        blocks, odd = extractor.encode(source, advance).finite()
        kept = canonical
        if odd:
            lost = {skip.id for skip in odd}
            names = canonical.crystals.ids.tolist()
            rows = np.array([at for at, n in enumerate(names) if n not in lost], dtype=np.int64)
            described = replace(described, values=described.values[rows])
            kept, graph = take(canonical, rows), None
            source = source.take(rows)
        named = self.electrons and level is not None
        inputs = build_inputs(
            kept, blocks, self.extractor, described, physics=self.physics, graph=graph,
            electronic=way_of(level) if named else OFF,
            electrons=source.electrons_of(np.arange(len(source))).numpy() if named else None,
        )  # fmt: skip
        if self.tuned is None:
            return inputs, odd
        frozen = inputs.matrix[:, frozen_columns(inputs)]
        tuned = self.tuned.predict(source, frozen, self.extractor.device)
        return replace(inputs, tuned=tuned), odd

    @property
    def level(self) -> str | None:
        """Level of the tight binding that is run; None where a student predicts, or none reads."""
        electrons = self.extractor.electrons
        return electrons if isinstance(electrons, str) else None


def _with_electrons(
    corpus: Corpus, level: str, advance: Callable[[int, int], None] | None
) -> Corpus:
    """The corpus with computed numbers of the electrons, which take longer than features."""
    made = []
    for start in range(0, max(len(corpus), 1), REPORTED):
        rows = np.arange(start, min(start + REPORTED, len(corpus)))
        made.append(corpus.electrons_of(rows, level))
        if advance is not None:
            advance(start + len(rows), len(corpus))
    return replace(corpus, electrons=torch.cat(made))


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
