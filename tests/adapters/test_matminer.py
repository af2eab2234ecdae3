import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from crystalssl.errors import InputError
from crystalssl.hub.weights import save_run
from crystalssl.structures.objects import to_pymatgen

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("matminer")
    from crystalssl.adapters.matminer import SSLFeaturizer


@pytest.fixture
def featurizer(registered_toy, tmp_path):
    torch.manual_seed(0)
    run = save_run({"toy": registered_toy(registered_toy.Config())}, tmp_path / "run")
    return SSLFeaturizer(run)


def test_a_data_frame_gets_one_column_a_feature(featurizer, many_crystals):
    frame = pd.DataFrame({"structure": to_pymatgen(many_crystals.take(range(7)))})
    out = featurizer.featurize_dataframe(frame, "structure", pbar=False)
    assert list(out.columns) == ["structure", *featurizer.feature_labels()]
    single = featurizer.featurize(frame["structure"][3])
    assert np.allclose(out.iloc[3, 1:].astype(float), single, atol=1e-5)


def test_errors_are_raised_or_told_as_matminer_does(featurizer, many_crystals):
    frame = pd.DataFrame({"structure": [*to_pymatgen(many_crystals.take([0])), "nothing.cif"]})
    with pytest.raises(InputError, match="1 of 2"):
        featurizer.featurize_dataframe(frame, "structure", pbar=False)
    out = featurizer.featurize_dataframe(
        frame, "structure", ignore_errors=True, return_errors=True, pbar=False
    )
    told = out["SSLFeaturizer Exceptions"]
    assert np.isnan(out["toy_0"][1]) and np.isfinite(out["toy_0"][0])
    assert "nothing.cif" in told[1] and np.isnan(told[0])


def test_duties_are_done(featurizer, many_crystals):
    assert featurizer.citations() and featurizer.implementors()
    assert featurizer.precheck(to_pymatgen(many_crystals.take([0]))[0])
