"""A prediction -> what each view, each element and each site contributes to it, adding up exactly.

Shapley values of the stacked model itself, whatever candidates are in it. Views: a view that is
left out stands at the mean of the labelled crystals, and the bottleneck mixes what is left; an
encoder that was trained on with labels is one more view, which stands at the mean label. Sites:
sites of an orbit that is left out are taken out of the crystal, which is then described anew.
Contributions and the mean prediction add up to the prediction. Source: Shapley, 1953; Lundberg,
Lee, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crystalssl.features.encoding import Extractor
from crystalssl.features.features import Features
from crystalssl.properties.describing import take
from crystalssl.properties.inputs import ALSO, BLOCKS, MIXED, PHYSICS, VIEW, Inputs
from crystalssl.properties.model import StackedModel
from crystalssl.properties.property_model import PropertyModel, describe
from crystalssl.properties.shapley import Mask, explained_outputs, outputs_of, shapley
from crystalssl.properties.site_shares import SiteShares, share_by_site
from crystalssl.properties.tuned_encoders import FINETUNED
from crystalssl.structures.canonical import CanonicalResult

Floats = npt.NDArray[np.float64]
Row = tuple[str | None, str, str, int | None, float]
COLUMNS = {
    "immutable_id": pa.string(), "kind": pa.string(), "name": pa.string(), "site": pa.int32(),
    "contribution": pa.float64(),
}  # fmt: skip
"""Columns of a table of contributions."""


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
    views = list(dict.fromkeys(s.name for s in inputs.sections if s.kind != MIXED))
    has_blocks = any(section.kind == BLOCKS for section in inputs.sections)
    if not has_blocks and MIXED in inputs.kinds():  # a matrix of features alone
        views += [section.name for section in inputs.sections if section.kind == MIXED]
    if model.tuned is not None:
        views.append(FINETUNED)

    def value(present: Mask) -> Floats:
        named = {name for name, here in zip(views, present, strict=True) if here}
        masked = _masked(inputs, named, model.reference, extractor)
        if model.tuned is not None and FINETUNED not in named:
            mean = np.broadcast_to(model.stack.centre, (len(inputs), len(model.stack.centre)))
            masked = replace(masked, tuned=mean)
        return outputs_of(model, masked, chosen)

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
        if section.kind in (BLOCKS, VIEW):
            blocks[section.name] = matrix[:, columns]
        if section.kind == MIXED:
            mixed = columns
    if blocks and mixed.stop and extractor is not None:
        ordered = dict(sorted(blocks.items(), key=lambda item: item[0] == PHYSICS))  # as mixed
        matrix[:, mixed] = extractor.mix(Features(ids=inputs.ids, blocks=ordered)).matrix
    elif mixed.stop and not any(s.kind == MIXED and s.name in present for s in inputs.sections):
        matrix[:, mixed] = reference[mixed]
    return replace(inputs, matrix=matrix)
