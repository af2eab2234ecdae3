"""Every step of ``steps.py`` runs, is recorded, and beats its peer per crystal."""

from __future__ import annotations

from typing import Any

import measure
import pytest
import steps


@pytest.mark.parametrize("name", list(steps.STEPS))
def test_step(benchmark: Any, name: str) -> None:
    crystals = steps.sample(256)
    found = benchmark.pedantic(lambda: steps.STEPS[name](crystals, 8), rounds=1)
    for one in found:
        benchmark.extra_info[one.step] = round(one.rate)
        if one.peer:
            benchmark.extra_info[f"{one.step}, {one.peer}"] = round(one.peer_rate)
            assert one.rate > one.peer_rate
    record = {"steps": [], "date": "", "machine": measure.machine()}
    assert "| step |" in measure.as_markdown(record)
