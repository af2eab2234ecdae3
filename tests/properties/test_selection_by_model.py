"""Crystals to label next by the uncertainty of a model that was fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crystalssl import pipeline
from crystalssl.errors import InputError
from crystalssl.properties.property_model import PropertyModel
from small_properties import TARGET


@pytest.fixture(scope="module")
def labelled(structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids of 30 crystals that count as labelled."""
    names = pq.read_table(structures, columns=["immutable_id"])["immutable_id"].to_pylist()[:30]
    path = tmp_path_factory.mktemp("labelled") / "labelled.txt"
    path.write_text("\n".join(names), encoding="utf-8")
    return path


def test_uncertainty_lists_the_widest_intervals_first(
    structures: Path, model: Path, labelled: Path
) -> None:
    result = pipeline.select(
        structures, count=12, model=model, method="uncertainty", labelled=labelled, weights="tiny"
    )
    table = PropertyModel.load(model).predict(structures)
    widths = np.asarray(table[f"{TARGET}_upper"]) - np.asarray(table[f"{TARGET}_lower"])
    known = set(labelled.read_text(encoding="utf-8").splitlines())
    rest = [(-w, n) for w, n in zip(widths, table["immutable_id"].to_pylist(), strict=True)
            if n not in known]  # fmt: skip
    assert result.table["immutable_id"].to_pylist() == [name for _, name in sorted(rest)[:12]]
    assert (np.diff(result.table["interval_width"]) <= 0).all()


def test_both_prefers_wide_intervals_but_leaves_out_what_is_alike(
    structures: Path, model: Path, labelled: Path
) -> None:
    settings = {"count": 10, "labelled": labelled, "weights": "tiny"}
    both = pipeline.select(structures, model=model, **settings).table  # type: ignore[arg-type]
    coverage = pipeline.select(structures, **settings).table  # type: ignore[arg-type]
    alone = pipeline.select(structures, model=model, method="uncertainty", **settings).table  # type: ignore[arg-type]
    chosen = [set(t["immutable_id"].to_pylist()) for t in (both, coverage, alone)]
    assert chosen[0] != chosen[1]
    assert chosen[0] != chosen[2]
    assert both.column_names == ["rank", "immutable_id", "explained", "interval_width"]
    again = pipeline.select(structures, model=model, **settings).table  # type: ignore[arg-type]
    assert again.equals(both)


def test_what_a_model_cannot_do_is_said(
    structures: Path, model: Path, labelled: Path, tmp_path: Path
) -> None:
    features = tmp_path / "features.parquet"
    pipeline.extract_to([structures], features, weights="tiny", threads=1)
    with pytest.raises(InputError, match="expected structures"):
        pipeline.select(features, count=2, model=model)
    with pytest.raises(InputError, match="expected 1 to 30"):
        pipeline.select(
            structures, count=31, model=model, method="uncertainty", labelled=labelled,
            weights="tiny",
        )  # fmt: skip
