"""Columns of a property model: each stands where its name says, electrons among named physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalssl.features.extractor import ExtractorConfig
from crystalssl.features.physics import physics_features
from crystalssl.properties.describing import Describer
from crystalssl.properties.inputs import BLOCKS, MIXED, PHYSICS, Descriptors, Inputs
from crystalssl.representation.electronic.shells import HEAVIEST
from crystalssl.structures.canonical import CanonicalResult, canonicalize
from small_properties import labelled

ELECTRONS = "_tight_binding"


@pytest.fixture(scope="module")
def canonical() -> CanonicalResult:
    return canonicalize(labelled(8))


def described(canonical: CanonicalResult, electronic: str, *, named: bool = True) -> Inputs:
    config = ExtractorConfig.of("default", electronic=electronic)
    describer = Describer(extractor=config.extractor(), electrons=named)
    inputs, odd = describer.describe(canonical, Descriptors.none(len(canonical.crystals)))
    assert not odd
    return inputs


def columns(inputs: Inputs, kind: str) -> dict[str, np.ndarray]:
    sections = [section for section in inputs.sections if section.kind == kind]
    names = [name for section in sections for name in section.columns]
    values = inputs.matrix[:, inputs.columns([kind])[0]]
    return dict(zip(names, values.T, strict=True))


@pytest.mark.parametrize("electronic", ["exact", "full", "off"])
def test_named_physics_is_that_of_extract(canonical: CanonicalResult, electronic: str) -> None:
    named = columns(described(canonical, electronic), PHYSICS)
    extractor = ExtractorConfig.of("default", output="physics", electronic=electronic).extractor()
    alone = extractor.features_of(canonical)
    assert list(named) == list(alone.names)
    there = np.nan_to_num(alone.matrix)
    np.testing.assert_allclose(np.stack(list(named.values()), 1), there, rtol=2e-3, atol=2e-3)
    with_electrons = [name for name in named if ELECTRONS in name]
    assert bool(with_electrons) == (electronic != "off")


def test_predicted_electrons_are_left_to_the_features(canonical: CanonicalResult) -> None:
    named = columns(described(canonical, "taught"), PHYSICS)
    assert list(named) == list(physics_features(canonical).names)


@pytest.mark.parametrize("electronic", ["taught", "exact"])
def test_learned_columns_are_those_of_extract(canonical: CanonicalResult, electronic: str) -> None:
    inputs = described(canonical, electronic)
    for kind, output in ((BLOCKS, "blocks"), (MIXED, "bottleneck")):
        extractor = ExtractorConfig.of("default", output=output, electronic=electronic).extractor()
        expected = extractor.features_of(canonical).matrix
        np.testing.assert_array_equal(inputs.matrix[:, inputs.columns([kind])[0]], expected)


def test_a_model_of_before_reads_no_electrons_among_its_physics(canonical: CanonicalResult) -> None:
    now = described(canonical, "exact")
    before = described(canonical, "exact", named=False)
    older = columns(before, PHYSICS)
    assert list(older) == list(physics_features(canonical).names)
    for name, values in columns(now, PHYSICS).items():
        if ELECTRONS not in name:
            np.testing.assert_array_equal(values, older[name])


def test_a_crystal_without_electrons_has_zeros_there(canonical: CanonicalResult) -> None:
    heavy = canonical.crystals
    numbers = heavy.numbers.copy()
    numbers[heavy.offsets[0] : heavy.offsets[1], 0] = HEAVIEST + 1
    changed = canonicalize(replace(heavy, numbers=numbers))
    named = columns(described(changed, "exact"), PHYSICS)
    values = np.stack([named[name] for name in named if ELECTRONS in name], 1)
    assert not values[0].any()
    assert values[1:].any(axis=1).all()


def test_progress_tells_of_electrons_and_of_features(canonical: CanonicalResult) -> None:
    told: list[tuple[int, int]] = []
    config = ExtractorConfig.of("default", electronic="exact")
    none = Descriptors.none(len(canonical.crystals))
    Describer(extractor=config.extractor()).describe(
        canonical, none, lambda done, total: told.append((done, total))
    )
    assert told.count((8, 8)) == 2, "once for the electrons, once for the features"
