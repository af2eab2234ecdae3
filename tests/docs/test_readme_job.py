"""The lines of README for someone with CIFs and a CSV do their whole job, on a small folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pyarrow.csv as pacsv
import pytest
from reader import COUNT, NEW, make_job
from typer.testing import CliRunner

from crystalssl.cli import app
from crystalssl.features.store import load_features

README = Path(__file__).resolve().parents[2] / "README.md"
JOB = re.compile(r"<!-- job -->\n```bash\n(.*?)```", re.DOTALL)


def crystalssl(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"))


@pytest.mark.usefixtures("few_candidates")
@pytest.mark.filterwarnings("ignore")  # of pymatgen, about how it writes
def test_the_lines_of_the_readme_do_the_whole_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    lines = JOB.findall(README.read_text(encoding="utf-8"))[0].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("crystalssl")]
    assert 3 <= len(commands) <= 20
    for words in commands:
        crystalssl(*words[1:])
    run = folder / "runs" / "mine"
    features = load_features(run / "features.parquet")
    assert features.matrix.shape == (COUNT, 2048)
    card = json.loads((run / "models" / "band_gap" / "card.json").read_text())
    assert card["counts"]["labelled"] == COUNT
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "My property: Band gap" in report
    assert f'href="map.html#{features.ids[0]}"' in report
    assert "strange" in (run / "models" / "band_gap" / "unmatched.csv").read_text()
    predictions = pacsv.read_csv(folder / "predictions.csv")
    assert predictions.num_rows == NEW
    assert {"band_gap", "band_gap_lower", "band_gap_upper"} <= set(predictions.column_names)
    assert (folder / "new.html").stat().st_size > 10_000
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet")}
    screen = crystalssl(*commands[0][1:])
    assert screen.count("as before") == 4  # structures, features, model and map
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet")} == before


def test_training_options_without_pretrain_and_labels_without_target_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for words, message in (
        (("--epochs", 3), "--pretrain"),
        (("--labels", "measured.csv"), "--target"),
        (("--labels", "measured.csv", "--target", "band_gab"), "Did you mean 'band_gap'"),
    ):
        result = CliRunner().invoke(app, ["run", "my_cifs", "--out", "x", *map(str, words)])
        assert result.exit_code == 2
        assert message in result.output.replace("\n", " ")
