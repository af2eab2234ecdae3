"""Canonical crystals -> the columns that candidates read: learned features, physics, descriptors.

Everything lies in one matrix, section after section, so that a candidate's columns are a slice and
not a copy. Sections: named physics, the user's own descriptors, features of the blocks, and what
the bottleneck makes of these. After physics.py, before candidates.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crystalssl.errors import InputError
from crystalssl.features.encoding import Extractor
from crystalssl.features.features import Features
from crystalssl.properties.physics import named_physics, physics_names
from crystalssl.representation.graph import PeriodicGraph
from crystalssl.representation.physics.electron_numbers import OFF
from crystalssl.representation.physics.view import view_names
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS
from crystalssl.structures.formulas import reduced_formulas

Matrix = npt.NDArray[np.float32]

BLOCKS, PHYSICS, ALSO, MIXED, VIEW = "blocks", "physics", "also", "mixed", "view"
"""Kinds of section: a block's features, named physics, the user's descriptors, the bottleneck; and
named physics that the bottleneck alone reads."""


COMPUTED, IDLE, ABSENT = "computed", "idle", "absent"
"""Ways to named physics: computed, zeros that nothing reads, or no such columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Neighbouring columns of one origin.

    Attributes:
        name: block, ``physics``, ``also`` or ``bottleneck``.
        kind: one of the five kinds.
        columns: names of the columns.
    """

    name: str
    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Crystals as candidates read them.

    Attributes:
        ids: (n,) ids.
        formulas: (n,) reduced formulas.
        elements: (n, 119) True for the atomic numbers in a crystal.
        matrix: (n, p) columns of all sections.
        sections: what the columns are, in order.
        tuned: (n, t) predictions of encoders that were trained on with labels, or None.
    """

    ids: npt.NDArray[np.str_]
    formulas: npt.NDArray[np.str_]
    elements: npt.NDArray[np.bool_]
    matrix: Matrix
    sections: tuple[Section, ...]
    tuned: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.ArrayLike) -> Inputs:
        """Some rows, by integer index."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            ids=self.ids[index],
            formulas=self.formulas[index],
            elements=self.elements[index],
            matrix=self.matrix[index],
            tuned=None if self.tuned is None else self.tuned[index],
        )

    def columns(self, kinds: Sequence[str]) -> tuple[slice, tuple[int, ...]]:
        """Slice of the sections of some kinds, which must lie side by side, and their widths."""
        edges = np.cumsum([0, *(len(section.columns) for section in self.sections)])
        chosen = [at for at, section in enumerate(self.sections) if section.kind in kinds]
        widths = tuple(len(self.sections[at].columns) for at in chosen)
        if not chosen or chosen[-1] - chosen[0] + 1 != len(chosen):
            raise InputError(f"Sections {kinds} do not lie side by side; expected neighbours.")
        return slice(int(edges[chosen[0]]), int(edges[chosen[-1] + 1])), widths

    def kinds(self) -> set[str]:
        """Kinds of section that there are."""
        return {section.kind for section in self.sections}


def build_inputs(
    canonical: CanonicalResult,
    blocks: Features,
    extractor: Extractor,
    also: Descriptors,
    *,
    physics: str = COMPUTED,
    graph: PeriodicGraph | None = None,
    electronic: str = OFF,
    electrons: Matrix | None = None,
) -> Inputs:
    """Columns of crystals whose features are there.

    Args:
        canonical: n canonical crystals.
        blocks: features of the blocks, of the same crystals.
        extractor: what made them; its bottleneck mixes them.
        also: descriptors of the same crystals.
        physics: whether named numbers are computed, stand as zeros that nothing reads, or are
            left out.
        graph: periodic graph of the crystals, where it is there already.
        electronic: way to the numbers of the electrons among the named ones.
        electrons: (n, row) these as ``Corpus.electrons`` has them; None if they are off or idle.

    Raises:
        InputError: if numbers of rows differ.
    """
    crystals = canonical.crystals
    sections, matrices = _physics_section(canonical, physics, graph, electronic, electrons)
    mixed = None if extractor.bottleneck is None else extractor.mix(blocks)
    learned = [
        (Section(name=name, kind=BLOCKS, columns=_numbered(name, block)), block)
        for name, block in blocks.blocks.items()
        if name != PHYSICS
    ]
    # view | blocks | physics | also | mixed: what is read together lies together
    if mixed is not None:
        if PHYSICS in blocks.blocks:
            view = Section(name=PHYSICS, kind=VIEW, columns=view_names())
            learned.insert(0, (view, blocks.blocks[PHYSICS]))
        sections = [*(section for section, _ in learned), *sections]
        matrices = [*(block for _, block in learned), *matrices]
        learned = [
            (Section(name=name, kind=MIXED, columns=_numbered(name, block)), block)
            for name, block in mixed.blocks.items()
        ]
    if also.names:
        sections.append(Section(name=ALSO, kind=ALSO, columns=also.names))
        matrices.append(also.values)
    sections += [section for section, _ in learned]
    matrices += [block for _, block in learned]
    lengths = {len(matrix) for matrix in matrices}
    if lengths != {len(crystals)}:
        raise InputError(f"Got {sorted(lengths)} rows for {len(crystals)} crystals.")
    return Inputs(
        ids=crystals.ids,
        formulas=reduced_formulas(crystals),
        elements=elements_of(crystals),
        matrix=np.ascontiguousarray(np.concatenate(matrices, axis=1), dtype=np.float32),
        sections=tuple(sections),
    )


def _physics_section(
    canonical: CanonicalResult,
    physics: str,
    graph: PeriodicGraph | None,
    electronic: str,
    electrons: Matrix | None,
) -> tuple[list[Section], list[Matrix]]:
    """Named numbers as they are asked for."""
    if physics == ABSENT:
        return [], []
    if physics == IDLE:
        names = physics_names(electronic)
        values = np.zeros((len(canonical.crystals), len(names)), np.float32)
    else:
        values, names = named_physics(canonical, graph, electronic, electrons)
    return [Section(name=PHYSICS, kind=PHYSICS, columns=names)], [values]


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptors:
    """The user's own columns: temperature, pressure, how a sample was made.

    Attributes:
        names: their names; words of text columns stand behind ``=``.
        values: (n, p) numbers, NaN nowhere.
    """

    names: tuple[str, ...]
    values: Matrix

    @staticmethod
    def none(count: int) -> Descriptors:
        """No descriptors of so many crystals."""
        return Descriptors(names=(), values=np.zeros((count, 0), np.float32))


def arrays_of_inputs(inputs: Inputs) -> Mapping[str, npt.NDArray[np.generic]]:
    """Arrays of inputs for a cache; :func:`inputs_of_arrays` reads them."""
    return {
        "ids": inputs.ids,
        "formulas": inputs.formulas,
        "elements": inputs.elements,
        "matrix": inputs.matrix,
        "sections": np.array([f"{s.kind}\x1f{s.name}" for s in inputs.sections]),
        "widths": np.array([len(s.columns) for s in inputs.sections]),
        "names": np.array([name for s in inputs.sections for name in s.columns]),
    }


def inputs_of_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Inputs:
    """Inputs from what :func:`arrays_of_inputs` made."""
    names = [str(name) for name in arrays["names"].tolist()]
    sections, start = [], 0
    for text, width in zip(arrays["sections"].tolist(), arrays["widths"].tolist(), strict=True):
        kind, _, name = str(text).partition("\x1f")
        stop = start + int(width)
        sections.append(Section(name=name, kind=kind, columns=tuple(names[start:stop])))
        start = stop
    return Inputs(
        ids=arrays["ids"].astype(np.str_),
        formulas=arrays["formulas"].astype(np.str_),
        elements=arrays["elements"].astype(np.bool_),
        matrix=arrays["matrix"].astype(np.float32, copy=False),
        sections=tuple(sections),
    )


def elements_of(crystals: Crystals) -> npt.NDArray[np.bool_]:
    """(n, 119) which atomic numbers are in a crystal."""
    filled = crystals.numbers > 0
    owner = np.broadcast_to(crystals.crystal_of_site[:, None], filled.shape)[filled]
    present = np.zeros((len(crystals), len(SYMBOLS)), bool)
    present[owner, crystals.numbers[filled]] = True
    return present


def _numbered(name: str, values: Matrix) -> tuple[str, ...]:
    return tuple(f"{name}_{column}" for column in range(values.shape[1]))


def frozen_columns(inputs: Inputs) -> slice:
    """Columns that a network reads beside its encoders: physics, own ones, mixed features."""
    there = inputs.kinds()
    learned = MIXED if MIXED in there else BLOCKS
    return inputs.columns([kind for kind in (PHYSICS, ALSO, learned) if kind in there])[0]
