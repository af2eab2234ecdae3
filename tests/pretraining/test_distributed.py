import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crystalssl.pretraining._lightning import read_history


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
def test_two_processes_end_with_one_and_the_same_block(tmp_path):
    run = [sys.executable, str(Path(__file__).with_name("two_processes.py")), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    assert [row["epoch"] for row in read_history(tmp_path / "toy" / "metrics.csv")] == ["0", "1"]


@pytest.mark.long
def test_two_processes_learn_as_one_process_with_batches_twice_as_large(tmp_path, monkeypatch):
    folder = Path(__file__).parent
    monkeypatch.syspath_prepend(str(folder))
    import quiet_training

    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*run, str(folder / "quiet_training.py"), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one = quiet_training.train(tmp_path / "one", 1)
    for rank in range(2):
        two = np.load(tmp_path / "two" / f"features{rank}.npy", allow_pickle=False)
        np.testing.assert_allclose(two, one.matrix, rtol=1e-3, atol=1e-4)
    curves = [read_history(tmp_path / name / "toy" / "metrics.csv") for name in ("one", "two")]
    assert len(curves[0]) == len(curves[1]) == 6
    for name in ("train_loss", "val_loss"):
        alone, side_by_side = (np.array([float(row[name]) for row in c]) for c in curves)
        np.testing.assert_allclose(side_by_side, alone, rtol=1e-3)
        assert alone[-1] < 0.99 * alone[0]
