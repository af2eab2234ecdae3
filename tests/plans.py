"""Property models that are fitted in seconds: few candidates, one repeat, the same files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crystalssl.properties import cross_validation
from crystalssl.properties.candidates import Plan

SetAttribute = Callable[[Any, str, Any], None]


def few_candidates(set_attribute: SetAttribute = setattr, count: int = 1) -> None:
    """Let every plan have so many candidates, one repeat and two clusters.

    Args:
        set_attribute: ``monkeypatch.setattr``, or ``setattr`` in a process of its own.
        count: candidates.
    """
    whole = cross_validation.build_plan  # where it is used; where it is defined is too late

    def build(*words: Any, **options: Any) -> Plan:
        plan = whole(*words, **options)
        return replace(plan, candidates=plan.candidates[:count], repeats=1, clusters=2)

    set_attribute(cross_validation, "build_plan", build)
