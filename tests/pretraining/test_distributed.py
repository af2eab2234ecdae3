import json
import subprocess
import sys
from pathlib import Path

from crystalssl.pretraining._lightning import read_history


def test_two_processes_end_with_one_and_the_same_block(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*run, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    assert [row["epoch"] for row in read_history(tmp_path / "toy" / "metrics.csv")] == ["0", "1"]
