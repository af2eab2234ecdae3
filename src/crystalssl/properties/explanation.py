"""A prediction -> what each view, each element and each site contributes to it, adding up exactly.

Shapley values of the stacked model itself, whatever candidates are in it. Views: a view that is
left out stands at the mean of the labelled crystals, and the bottleneck mixes what is left. Sites:
sites of an orbit that is left out are taken out of the crystal, which is then described anew.
Contributions and the mean prediction add up to the prediction. Source: Shapley, 1953; Lundberg,
Lee, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import factorial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.errors import InputError
from crystalssl.features.extractor import Extractor
from crystalssl.features.features import Features
from crystalssl.properties.calibration import probabilities
from crystalssl.properties.describing import Describer, take
from crystalssl.properties.inputs import ALSO, BLOCKS, MIXED, Descriptors, Inputs
from crystalssl.properties.model import StackedModel
from crystalssl.properties.property_model import PropertyModel, describe
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from crystalssl.structures.crystals import Crystals
from crystalssl.structures.elements import SYMBOLS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Row = tuple[str | None, str, str, int | None, float]
COLUMNS = {
    "immutable_id": pa.string(), "kind": pa.string(), "name": pa.string(), "site": pa.int32(),
    "contribution": pa.float64(),
}  # fmt: skip
"""Columns of a table of contributions."""
PLAYERS = 7
"""Orbits of a crystal that all coalitions are tried of; of more, permutations are sampled."""
PERMUTATIONS = 12
"""Permutations that are sampled, each once forwards and once backwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Contributions to the predictions of m crystals.

    Attributes:
        names: (v,) what contributes.
        values: (m, v) contributions, in the unit of the target.
        base: (m,) prediction with everything left out.
    """

    names: tuple[str, ...]
    values: Floats
    base: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteShares:
    """Contributions of the sites of one crystal.

    Attributes:
        id: id of the crystal.
        species: (n,) what is on each site of the canonical cell.
        frac_coords: (n, 3) where.
        values: (n,) contribution of each site.
        base: mean label, which stands for the crystal without sites.
    """

    id: str
    species: tuple[str, ...]
    frac_coords: Floats
    values: Floats
    base: float

    def by_element(self) -> dict[str, float]:
        """Contributions added up over the sites of each species."""
        total: dict[str, float] = {}
        for name, value in zip(self.species, self.values.tolist(), strict=True):
            total[name] = total.get(name, 0.0) + value
        return total


def explain_crystals(
    model: PropertyModel,
    canonical: CanonicalResult,
    *,
    by_site: bool = True,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> pa.Table:
    """Contributions to the predictions of crystals, in rows.

    Args:
        model: a loaded model; of classes the probability of the predicted one is explained.
        canonical: m canonical crystals that carry the columns of the user's own that it reads.
        by_site: whether elements and sites are explained too.
        advance: told how many are done.

    Returns:
        ``immutable_id``, ``kind`` (base, view, element, site), ``name``, ``site``,
        ``contribution`` and ``of`` (the target, or the class), then, without an id, the mean size
        of the contributions of each view and element over all crystals (``mean_size_of_view``,
        ``mean_size_of_element``).
    """
    describer = model.describer()
    extractor = describer.extractor
    inputs, _ = describe(model, describer, canonical, None)
    outputs = explained_outputs(model.stacked, inputs)
    shares = share_by_view(model.stacked, extractor, inputs, outputs)
    rows: list[Row] = []
    with_sites = by_site and not any(section.kind == ALSO for section in inputs.sections)
    position = {name: at for at, name in enumerate(canonical.crystals.ids.tolist())}
    for at, name in enumerate(inputs.ids.tolist()):
        rows.append((name, "base", "views", None, float(shares.base[at])))
        rows += [
            (name, "view", view, None, float(value))
            for view, value in zip(shares.names, shares.values[at], strict=True)
        ]
        if with_sites:
            one = take(canonical, np.array([position[name]]))
            rows += _site_rows(
                share_by_site(
                    model.stacked, describer, one, model.config.symprec, output=int(outputs[at])
                )
            )
        advance(at + 1, len(inputs))
    of = [model.card.classes[at] if model.card.classes else model.card.target for at in outputs]
    named = dict(zip(inputs.ids.tolist(), of, strict=True))
    table = {
        name: pa.array([row[at] for row in [*rows, *_mean_sizes(rows)]], kind)
        for at, (name, kind) in enumerate(COLUMNS.items())
    }
    texts = [named.get(name, "") for name in table["immutable_id"].to_pylist()]
    return pa.table({**table, "of": pa.array(texts, pa.string())})


def _mean_sizes(rows: Sequence[Row]) -> list[Row]:
    """Mean size of the contributions of each view and element, largest first; 0 where absent."""
    made: list[Row] = []
    for kind in ("view", "element"):
        names = {row[0] for row in rows if row[1] == kind}
        sizes: dict[str, float] = {}
        for _, of_kind, name, _, value in rows:
            if of_kind == kind:
                sizes[name] = sizes.get(name, 0.0) + abs(value) / len(names)
        ordered = sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
        made += [(None, f"mean_size_of_{kind}", name, None, size) for name, size in ordered]
    return made


def explained_outputs(model: StackedModel, inputs: Inputs) -> npt.NDArray[np.int64]:
    """(m,) what is explained: 0 for a number, else the class that is predicted."""
    if model.calibration is None:
        return np.zeros(len(inputs), dtype=np.int64)
    shares = probabilities(model.combine(model.candidates(inputs)))
    return np.asarray(shares.argmax(axis=1), dtype=np.int64)


def _outputs_of(model: StackedModel, inputs: Inputs, outputs: npt.NDArray[np.int64]) -> Floats:
    """(m,) the prediction, or the probability of a class of each crystal."""
    predicted = model.combine(model.candidates(inputs))
    if model.calibration is not None:
        predicted = probabilities(predicted, least=0.0)
    values: Floats = predicted[np.arange(len(inputs)), outputs]
    return values


def _base(model: StackedModel, output: int) -> float:
    """What stands for a crystal without sites: the mean label, or frequency of the class."""
    if model.calibration is None:
        return float(model.stack.centre[0])
    return float(probabilities(model.stack.centre[None], least=0.0)[0, output])


def _site_rows(shares: SiteShares) -> list[Row]:
    """Contributions of the elements and sites of one crystal."""
    return [
        (shares.id, "base", "elements and sites", None, shares.base),
        *((shares.id, "element", name, None, v) for name, v in shares.by_element().items()),
        *(
            (shares.id, "site", name, number, value)
            for number, (name, value) in enumerate(
                zip(shares.species, shares.values.tolist(), strict=True)
            )
        ),
    ]


def share_by_view(
    model: StackedModel,
    extractor: Extractor | None,
    inputs: Inputs,
    outputs: npt.NDArray[np.int64] | None = None,
) -> Shares:
    """Contribution of every view of crystals.

    Args:
        model: stacked model.
        extractor: its bottleneck mixes views.
        inputs: m crystals.
        outputs: (m,) class that is explained of each; None for the predicted one.
    """
    chosen = explained_outputs(model, inputs) if outputs is None else outputs
    views = [section.name for section in inputs.sections if section.kind != MIXED]
    has_blocks = any(section.kind == BLOCKS for section in inputs.sections)
    if not has_blocks and MIXED in inputs.kinds():  # a matrix of features alone
        views += [section.name for section in inputs.sections if section.kind == MIXED]

    def value(present: Mask) -> Floats:
        named = {name for name, here in zip(views, present, strict=True) if here}
        masked = _masked(inputs, named, model.reference, extractor)
        return _outputs_of(model, masked, chosen)

    values, base = shapley(value, len(views))
    return Shares(names=tuple(views), values=values, base=base)


def _masked(
    inputs: Inputs,
    present: set[str],
    reference: npt.NDArray[np.float32],
    extractor: Extractor | None,
) -> Inputs:
    """Inputs whose absent views stand at the reference; mixed columns are mixed from these."""
    matrix = inputs.matrix.copy()
    start, blocks, mixed = 0, {}, slice(0, 0)
    for section in inputs.sections:
        columns = slice(start, start + len(section.columns))
        start = columns.stop
        if section.kind != MIXED and section.name not in present:
            matrix[:, columns] = reference[columns]
        if section.kind == BLOCKS:
            blocks[section.name] = matrix[:, columns]
        if section.kind == MIXED:
            mixed = columns
    if blocks and mixed.stop and extractor is not None:
        matrix[:, mixed] = extractor.mix(Features(ids=inputs.ids, blocks=blocks)).matrix
    elif mixed.stop and not any(s.kind == MIXED and s.name in present for s in inputs.sections):
        matrix[:, mixed] = reference[mixed]
    return replace(inputs, matrix=matrix)


def shapley(value: Callable[[Mask], Floats], players: int) -> tuple[Floats, Floats]:
    """(m, players) exact Shapley values, and (m,) value without any player.

    Args:
        value: (players,) who is there -> (m,) value.
        players: their number; two to this power values are asked for.
    """
    coalitions = {number: value(_bits(number, players)) for number in range(2**players)}
    shares = []
    for player in range(players):
        total = np.zeros_like(coalitions[0])
        for number, worth in coalitions.items():
            if number >> player & 1:
                continue
            size = number.bit_count()
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            total = total + weight * (coalitions[number | 1 << player] - worth)
        shares.append(total)
    return np.stack(shares, axis=1), coalitions[0]


def _bits(number: int, players: int) -> Mask:
    return np.array([number >> player & 1 for player in range(players)], dtype=bool)


def share_by_site(
    model: StackedModel,
    describer: Describer,
    canonical: CanonicalResult,
    symprec: float,
    *,
    output: int = 0,
    seed: int = 0,
) -> SiteShares:
    """Contribution of every site of one crystal.

    Args:
        model: stacked model without descriptors of the user's own.
        describer: what turns crystals into inputs.
        canonical: one canonical crystal.
        symprec: tolerance of the symmetry search in angstrom.
        output: class that is explained; 0 for a number.
        seed: seed of sampled permutations.

    Raises:
        InputError: if there is not one crystal, or the model reads the user's own columns.
    """
    crystals = canonical.crystals
    if len(crystals) != 1:
        raise InputError(f"Got {len(crystals)} crystals, expected one at a time.")
    if any(section.kind == ALSO for section in model.sections):
        raise InputError("The model reads columns of your own, which no part of a crystal has.")
    orbits = orbits_of(crystals)
    count = int(orbits.max()) + 1
    wanted = _coalitions(count, seed)
    masks = list(dict.fromkeys(tuple(mask) for order in wanted for mask in order if any(mask)))
    base = _base(model, output)
    worth = _worth(model, describer, crystals, orbits, masks, symprec, output)
    worth[(False,) * count] = base
    if count <= PLAYERS:
        values = shapley(lambda mask: np.array([worth[tuple(mask.tolist())]]), count)[0][0]
    else:
        values = np.zeros(count)
        for order in wanted:
            for before, after in pairwise(order):
                player = next(p for p in range(count) if before[p] != after[p])
                values[player] += (worth[tuple(after)] - worth[tuple(before)]) / len(wanted)
    sizes = np.bincount(orbits)
    return SiteShares(
        id=str(crystals.ids[0]),
        species=tuple(species_of(crystals)),
        frac_coords=crystals.frac_coords,
        values=values[orbits] / sizes[orbits],
        base=base,
    )


def _coalitions(count: int, seed: int) -> list[list[list[bool]]]:
    """Chains of coalitions from nobody to all: every coalition, or sampled permutations."""
    if count <= PLAYERS:
        return [[_bits(number, count).tolist() for number in range(2**count)]]
    rng = np.random.default_rng(seed)
    chains = []
    for _ in range(PERMUTATIONS):
        order = rng.permutation(count)
        for players in (order, order[::-1]):
            chain = [[False] * count]
            for player in players.tolist():
                chain.append([*chain[-1][:player], True, *chain[-1][player + 1 :]])
            chains.append(chain)
    return chains


def _worth(
    model: StackedModel,
    describer: Describer,
    crystals: Crystals,
    orbits: npt.NDArray[np.int64],
    masks: Sequence[tuple[bool, ...]],
    symprec: float,
    output: int,
) -> dict[tuple[bool, ...], float]:
    """Prediction for the crystal with some of its orbits; the mean where it cannot be described."""
    made = [
        _with_sites(crystals, np.asarray(mask)[orbits], str(at)) for at, mask in enumerate(masks)
    ]
    canonical = canonicalize(Crystals.concatenate(made), symprec=symprec)
    inputs, _ = describer.describe(canonical, Descriptors.none(len(canonical.crystals)))
    predicted = _outputs_of(model, inputs, np.full(len(inputs), output))
    by_id = dict(zip(inputs.ids.tolist(), predicted.tolist(), strict=True))
    base = _base(model, output)
    return {mask: by_id.get(str(at), base) for at, mask in enumerate(masks)}


def _with_sites(crystals: Crystals, kept: Mask, name: str) -> Crystals:
    """The one crystal with some of its sites."""
    return Crystals(
        ids=np.array([name]),
        lattice=crystals.lattice,
        offsets=np.array([0, int(kept.sum())], dtype=np.int64),
        frac_coords=crystals.frac_coords[kept],
        numbers=crystals.numbers[kept],
        occupancy=crystals.occupancy[kept],
    )


def orbits_of(crystals: Crystals) -> npt.NDArray[np.int64]:
    """(n,) orbit of each site of one crystal: same species, and the same distances around it.

    Distances to the sites of each species tell sites apart without a symmetry search; sites that
    only chirality tells apart count as one orbit.
    """
    species = species_of(crystals)
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    frac = crystals.frac_coords - np.floor(crystals.frac_coords)
    apart = frac[None, :, None] - frac[:, None, None] + shifts  # (n, n, 27, 3)
    lengths = np.linalg.norm(apart @ crystals.lattice[0], axis=-1)
    near = np.sort(lengths, axis=-1)[:, :, :8]
    seen: dict[tuple[object, ...], int] = {}
    orbits = []
    for site, name in enumerate(species):
        around = sorted((other, *np.round(near[site, at], 2)) for at, other in enumerate(species))
        orbits.append(seen.setdefault((name, tuple(around)), len(seen)))
    return np.array(orbits, dtype=np.int64)


def species_of(crystals: Crystals) -> list[str]:
    """Species of each site, such as ``Li`` or ``Li0.5Na0.5``."""
    names = []
    for numbers, occupancy in zip(crystals.numbers, crystals.occupancy, strict=True):
        filled = numbers > 0
        whole = filled.sum() == 1 and abs(float(occupancy[filled][0]) - 1) < 1e-3
        names.append(
            "".join(
                SYMBOLS[z] if whole else f"{SYMBOLS[z]}{amount:.3g}"
                for z, amount in zip(
                    numbers[filled].tolist(), occupancy[filled].tolist(), strict=True
                )
            )
        )
    return names
