"""Feature sets of the scenarios with several of them: files named by the user, and baselines.

Used by ``evaluate few-shot`` and ``evaluate ablation``; untrained encoders are applied once for
the same structures and kept beside the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crystalssl.cli.console import console, make_canonical, say
from crystalssl.cli.probing import SSL, UNTRAINED
from crystalssl.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from crystalssl.evaluation.feature_sets import FeatureSet
    from crystalssl.features.container import Features
    from crystalssl.structures.crystals import Crystals

RAW, MAGPIE, HYBRID = "raw_ftcp", "magpie", "hybrid"
"""Names of the sets that are made here."""
LABELS = {UNTRAINED: "Untrained encoders", SSL: "Pre-trained encoders"}
"""Names for people."""


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """``NAME=FILE`` arguments of ``--also``.

    Raises:
        InputError: if one is not of that form, or a name is taken.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, sign, file = text.partition("=")
        taken = {RAW, MAGPIE, HYBRID, SSL, *found}
        if not sign or not name.isidentifier() or not file or name in taken:
            raise InputError(
                f"Got --also {text!r}; expected NAME=FILE with a name of letters, digits and _ "
                f"that is none of {', '.join(sorted(taken))}, for instance "
                "--also bottleneck=features.parquet."
            )
        found[name] = Path(file)
    return found


def percentages(text: str, option: str) -> tuple[float, ...]:
    """Shares given in percent, joined by commas; empty text gives none.

    Raises:
        InputError: if it holds something else.
    """
    try:
        found = tuple(float(word) / 100 for word in text.split(",") if word.strip())
    except ValueError as error:
        raise InputError(
            f"Got {option} {text!r}; expected numbers joined by commas, for instance 1,10,100."
        ) from error
    if any(not 0 < share <= 1 for share in found):
        raise InputError(f"Got {option} {text!r}; expected shares above 0 and at most 100 percent.")
    return tuple(dict.fromkeys(found))


def untrained_features(
    crystals: Crystals,
    out: Path,
    blocks: Sequence[str],
    *,
    strict: bool,
    symprec: float,
    seed: int,
) -> Features:
    """Features of ``blocks`` that were never trained; kept in ``out/cache``.

    Raises:
        InputError: if no structure can be used, or some cannot and ``strict``.
    """
    from crystalssl.blocks._registry import build_block
    from crystalssl.cli import steps
    from crystalssl.cli.stages import Stages, crystals_digest
    from crystalssl.features.store import load_features, save_parquet

    path = out / "cache" / "untrained_features.parquet"
    stages = Stages(out / "cache")
    settings = {"seed": seed, "symprec": symprec, "blocks": list(blocks)}
    digest = stages.digest("untrained", settings, [crystals_digest(crystals)])
    if stages.is_done("untrained", digest, path):
        return load_features(path)
    fresh = {name: build_block(name, seed=seed) for name in blocks}
    canonical = make_canonical(crystals, out, strict=strict, symprec=symprec)
    features = steps.extract_features(canonical, fresh, UNTRAINED, LABELS[UNTRAINED])
    save_parquet(features, path)
    stages.finish("untrained", digest, settings)
    return features


def with_baselines(
    crystals: Crystals, features: Features, others: Mapping[str, Features], cache: Path
) -> list[FeatureSet]:
    """Raw FTCP, element statistics, other sets, our features, and raw FTCP beside these.

    Args:
        crystals: n crystals, cells as given.
        features: trained features; matched by id.
        others: further features by name.
        cache: folder that keeps element statistics.
    """
    from crystalssl.evaluation.feature_sets import given, raw_ftcp, side_by_side
    from crystalssl.evaluation.magpie import magpie

    with console.status("Baselines: raw FTCP and composition statistics"):
        sets = [raw_ftcp(crystals)]
        try:
            sets.append(magpie(crystals, cache))
        except MissingExtraError as error:
            say(f"Left out: {error}", "yellow")
    for name, found in {**others, SSL: features}.items():
        label = LABELS.get(name, name.replace("_", " ").capitalize())
        sets.append(given(name, label, found.ids, found.matrix, crystals))
    label = "Raw FTCP beside pre-trained"
    both, (sets[0], sets[-1]) = side_by_side(HYBRID, label, [sets[0], sets[-1]])
    return [*sets, both]
