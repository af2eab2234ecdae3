"""Canonical crystals -> features, by encoders that are loaded and what follows them.

What an ``ExtractorConfig`` becomes where the work is done: blocks, the student of the electrons, a
bottleneck, named physics, states of sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crystalssl.blocks.contract import Block
from crystalssl.datasets.corpus import Corpus
from crystalssl.errors import InputError
from crystalssl.features.bottleneck import (
    BOTTLENECK,
    Bottleneck,
)
from crystalssl.features.extract import extract
from crystalssl.features.features import PHYSICS, Features, Origin, feature_names
from crystalssl.features.physics import physics_features, physics_names
from crystalssl.features.sites import SiteRows, pooled, pooled_names, site_rows
from crystalssl.features.student import (
    Student,
)
from crystalssl.structures.canonical import CanonicalResult
from crystalssl.structures.crystals import Crystals


@dataclass(frozen=True, kw_only=True, slots=True)
class Extractor:
    """Canonical crystals to features.

    Attributes:
        encoders: block of each name.
        bottleneck: what mixes their features, or None.
        electrons: where a block that reads numbers of the electrons has them from: a student, or a
            level of the tight binding; None if no block does.
        origins: the weights in use.
        device: where to compute; a CUDA GPU if there is one by default.
        physics: way to the numbers of the electrons among named numbers, where these are computed
            instead; there are no encoders then unless a student reads their features.
        pool: how states of sites become features of crystals (``sites.POOLS``), in place of the
            features of the blocks; None for these.
    """

    encoders: Mapping[str, Block]
    bottleneck: Bottleneck | None
    electrons: Student | str | None
    origins: tuple[Origin, ...]
    device: str | None
    physics: str | None = None
    pool: str | None = None

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each block, or of the bottleneck."""
        if self.physics is not None:
            return {PHYSICS: len(physics_names(self.physics))}
        if self.bottleneck is not None:
            return {BOTTLENECK: self.bottleneck.width}
        if self.pool is not None:
            return {name: len(names) for name, names in self._pooled_names().items()}
        return {name: block.width for name, block in self.encoders.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        if self.pool is not None:
            return tuple(name for names in self._pooled_names().values() for name in names)
        if self.physics is not None:
            return physics_names(self.physics)
        return feature_names(self.widths)

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(self.widths.values())

    def features_of(
        self,
        source: CanonicalResult | Corpus | Crystals,
        progress: Callable[[int, int], None] | None = None,
        max_crystals: int | None = None,
    ) -> Features:
        """Features of every crystal, in order; at most ``max_crystals`` are encoded at a time."""
        return self.mix(self.encode(source, progress, max_crystals))

    def encode(
        self,
        source: CanonicalResult | Corpus | Crystals,
        progress: Callable[[int, int], None] | None = None,
        max_crystals: int | None = None,
    ) -> Features:
        """Features of the blocks, not mixed; with named physics where the bottleneck reads it.

        Raises:
            InputError: if named physics is asked for of a corpus, which lacks space groups.
        """
        if self.pool is not None:
            return pooled(self.sites_of(source, progress), self.pool)
        if self.physics is None:
            return self._blocks(source, progress, max_crystals)
        if isinstance(source, Corpus):
            raise InputError(
                "Named physics needs canonical crystals, got a corpus. Give the result of "
                "canonicalize."
            )
        student, electrons = self.electrons, None
        if isinstance(student, Student):
            matrix = self._blocks(source, None, max_crystals).matrix
            electrons = student.predict(matrix)
        return physics_features(source, self.physics, electrons, progress)

    def _blocks(
        self,
        source: CanonicalResult | Corpus | Crystals,
        progress: Callable[[int, int], None] | None,
        max_crystals: int | None,
    ) -> Features:
        """Features of the encoders."""
        return extract(
            source,
            self.encoders,
            device=self.device,
            max_crystals=max_crystals,
            electrons=self.electrons,
            origins=self.origins,
            progress=progress,
            named=self.bottleneck is not None and self.bottleneck.reads_physics,
        )

    def sites_of(
        self,
        source: CanonicalResult | Corpus | Crystals,
        progress: Callable[[int, int], None] | None = None,
    ) -> SiteRows:
        """States of every site, crystal after crystal; for blocks that have them alone."""
        return site_rows(
            source, self.encoders, device=self.device, origins=self.origins, progress=progress
        )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the states of a site."""
        return feature_names({name: b.site_channels for name, b in self.encoders.items()})

    def _pooled_names(self) -> dict[str, tuple[str, ...]]:
        return {
            name: pooled_names(name, block.site_channels, self.pool or "")
            for name, block in self.encoders.items()
        }

    def mix(self, features: Features) -> Features:
        """Features of the blocks as the bottleneck mixes them; as they are without one."""
        return features if self.bottleneck is None else self.bottleneck.apply_to(features)
