import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from crystalssl import CrystalFeaturizer
from crystalssl.errors import InputError, UnknownNameError
from crystalssl.hub.weights import save_run
from crystalssl.structures.objects import to_pymatgen


@pytest.fixture
def run(registered_toy, tmp_path):
    torch.manual_seed(0)
    return save_run({"toy": registered_toy(registered_toy.Config())}, tmp_path / "run")


@pytest.fixture(scope="module")
def structures(many_crystals):
    return to_pymatgen(many_crystals.take(range(14)))


def broken():
    from pymatgen.core import Structure

    return Structure(np.eye(3) * 3, ["Na", "Cl"], [[0, 0, 0], [0.01, 0, 0]])


def test_structures_and_crystals_give_the_same_rows(run, structures, many_crystals):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    rows = featurizer.transform(structures)
    assert rows.shape == (14, 16) and rows.dtype == np.float32 and np.isfinite(rows).all()
    assert np.allclose(rows, featurizer.transform(many_crystals.take(range(14))), atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        tuple,
        lambda s: np.array([*s, None], dtype=object)[:-1],
        pd.Series,
        lambda s: pd.DataFrame({"structure": s}),
        lambda s: [x.as_dict() for x in s],
    ],
)
def test_any_container_will_do(run, structures, wrap):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    expected = featurizer.transform(structures)
    assert np.allclose(featurizer.transform(wrap(structures)), expected, atol=1e-5)


def test_paths_and_structures_may_be_mixed(run, structures, tmp_path):
    structures[1].to(filename=str(tmp_path / "one.cif"))
    featurizer = CrystalFeaturizer.from_pretrained(run)
    rows = featurizer.transform([structures[0], tmp_path / "one.cif", structures[2]])
    assert np.allclose(rows, featurizer.transform(structures[:3]), atol=1e-3)


def test_a_structure_that_cannot_be_used_is_a_row_of_nan_and_a_warning(run, structures):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    mixed = [structures[0], broken(), structures[1], 7, "no-such-file.cif"]
    with pytest.warns(UserWarning, match="3 of 5 structures cannot be used"):
        rows = featurizer.transform(mixed)
    assert np.isnan(rows).all(1).tolist() == [False, True, False, True, True]
    assert np.allclose(rows[[0, 2]], featurizer.transform(structures[:2]), atol=1e-5)
    featurizer.set_params(on_invalid="nan").transform(mixed)
    assert [skip.id for skip in featurizer.skipped_] == ["1", "3", "4"]
    with pytest.raises(InputError, match="3 of 5"):
        featurizer.set_params(on_invalid="error").transform(mixed)


@pytest.mark.parametrize("way", ["transform", "fit_transform", "pipeline", "frame"])
def test_the_warning_points_at_the_line_of_the_user(run, structures, way):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    calls = {
        "transform": featurizer.transform,
        "fit_transform": featurizer.fit_transform,
        "pipeline": make_pipeline(featurizer).transform,
        "frame": featurizer.set_output(transform="pandas").transform,
    }
    with pytest.warns(UserWarning, match="1 of 2") as caught:
        calls[way]([structures[0], broken()])
    assert [warning.filename for warning in caught] == [__file__]


def test_numbers_and_names_choose_blocks_as_on_the_command_line():
    for chosen in ("1,3", "composition, 3", [1, "sites"]):
        featurizer = CrystalFeaturizer.from_pretrained("tiny", blocks=chosen, device="cpu")
        assert list(featurizer.encoders_) == ["composition", "sites"]
    with pytest.raises(UnknownNameError, match="block '99'"):
        CrystalFeaturizer("tiny", blocks="99").fit()


def test_batches_threads_and_the_bar_change_no_feature(run, structures, capsys):
    expected = CrystalFeaturizer(run, device="cpu").fit_transform(structures)
    before = torch.get_num_threads()
    other = CrystalFeaturizer(run, device="cpu", n_jobs=2, batch_size=3, verbose=1)
    assert np.allclose(other.fit_transform(structures), expected, atol=1e-6)
    assert torch.get_num_threads() == before
    assert "crystals" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "text"),
    [({"n_jobs": 0}, "n_jobs=0"), ({"batch_size": 0}, "batch_size=0"), ({"device": "abc"}, "abc")],
)
def test_settings_that_cannot_be_are_refused_in_fit(run, setting, text):
    with pytest.raises(InputError, match=text):
        CrystalFeaturizer(run, **setting).fit()


def test_a_gpu_that_is_not_there_is_refused_in_fit(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="0 CUDA GPUs"):
        CrystalFeaturizer.from_pretrained(run, device="cuda")


def test_scikit_learn_splits_crystals_by_row(run, many_crystals):
    some = many_crystals.take(range(14))
    model = make_pipeline(CrystalFeaturizer(run), Ridge())
    assert cross_val_score(model, some, np.arange(14.0), cv=2).shape == (2,)


def test_precheck_says_what_can_be_used(run, structures):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    assert featurizer.precheck(structures[0]) and not featurizer.precheck(broken())


def test_it_works_in_a_pipeline_and_gives_frames(run, structures):
    target = np.arange(14.0)
    model = make_pipeline(CrystalFeaturizer(run), Ridge()).fit(structures, target)
    assert model.predict(structures).shape == (14,)
    frame = CrystalFeaturizer(run).set_output(transform="pandas").fit_transform(structures)
    assert list(frame.columns) == [f"toy_{i}" for i in range(16)]
    series = pd.Series(structures, index=[f"m{i}" for i in range(14)])
    named = CrystalFeaturizer(run).set_output(transform="pandas").fit_transform(series)
    assert list(named.index) == list(series.index)


def test_names_follow_the_blocks_and_matminer_gets_its_duties(run):
    featurizer = CrystalFeaturizer.from_pretrained(run)
    assert featurizer.feature_labels() == list(featurizer.get_feature_names_out())
    assert all(text.startswith("@") for text in featurizer.citations())
    assert featurizer.implementors()


def test_unfitted_unknown_and_single_inputs_are_refused(run, structures):
    with pytest.raises(NotFittedError):
        CrystalFeaturizer(run).transform(structures)
    with pytest.raises(UnknownNameError, match="'to'"):
        CrystalFeaturizer(run, blocks="to").fit()
    with pytest.raises(UnknownNameError, match="on_invalid"):
        CrystalFeaturizer(run, on_invalid="ignore").fit()
    fitted = CrystalFeaturizer(run, blocks=["toy"]).fit()
    for wrong in (structures[0], "a.cif", 3):
        with pytest.raises(InputError, match="expected a list"):
            fitted.transform(wrong)
    with pytest.raises(InputError, match="2 columns"):
        fitted.transform(pd.DataFrame({"a": structures, "b": structures}))


def test_no_structures_give_no_rows(run):
    assert CrystalFeaturizer.from_pretrained(run).transform([]).shape == (0, 16)


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_mixin_order",
    ],
)
def test_scikit_learn_checks_of_parameters_and_tags_pass(check):
    getattr(estimator_checks, check)("CrystalFeaturizer", CrystalFeaturizer())


def test_a_clone_has_the_same_settings_and_no_encoders(run):
    fitted = CrystalFeaturizer(run, on_invalid="nan").fit()
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() and not hasattr(copy, "encoders_")


def test_features_need_neither_pymatgen_nor_ase():
    """What comes with extras is asked for by name, and nothing else asks for it."""
    code = (
        "import sys\n"
        "for name in ('pymatgen', 'ase', 'plotly', 'tensorboard', 'lightning'):\n"
        "    sys.modules[name] = None\n"
        "from crystalssl import CrystalFeaturizer\n"
        "from crystalssl.datasets.bundled import load_bundled\n"
        "crystals = load_bundled()[:2]\n"
        "featurizer = CrystalFeaturizer.from_pretrained('tiny', device='cpu')\n"
        "print(featurizer.transform(crystals).shape[0])\n"
        "try:\n"
        "    crystals[0].to_pymatgen()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2\nMissingExtraError")
    assert "crystalssl[pymatgen]" in done.stdout
