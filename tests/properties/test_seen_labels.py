"""Where encoders have seen the labelled crystals, errors are too hopeful for others: it is said."""

from __future__ import annotations

import numpy as np

from crystalssl.evaluation.overlap import find_overlap
from crystalssl.features.features import origin_of
from crystalssl.hub.weights import run_folders
from crystalssl.properties.overlap import notes_of_overlap
from small_properties import labelled


def test_the_user_is_told_where_most_labelled_crystals_were_in_pre_training() -> None:
    crystals = labelled(120)
    overlap = find_overlap([origin_of("default", run_folders("default"))], crystals)
    seen, new = np.flatnonzero(overlap.structures), np.flatnonzero(~overlap.structures)
    assert len(seen) > len(new) > 5
    some = crystals.take(np.concatenate([seen[:6], new[:5]]))
    (note,) = notes_of_overlap("default", some)
    assert note.startswith("6 of 11 labelled crystals were in pre-training")
    assert not notes_of_overlap("default", crystals.take(np.concatenate([seen[:4], new[:5]])))
