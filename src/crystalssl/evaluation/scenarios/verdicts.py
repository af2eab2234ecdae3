"""Differences -> verdicts: whether features do what they have to, said the same way everywhere.

Every scenario states claims that could fail; the report shows them as they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crystalssl.evaluation.results import Difference, Verdict


def better_than(
    entries: Sequence[Difference], labels: Mapping[str, str], where: str = ""
) -> Verdict:
    """The claim that features are better than a baseline in every one of some comparisons.

    Args:
        entries: comparisons of one target, feature set and baseline, at least one.
        labels: readable names of feature sets.
        where: what the comparisons have in common, for the claim.
    """
    first = entries[0]
    ours, other = (labels.get(name, name) for name in (first.feature_set, first.baseline))
    better = sum(entry.gain > 0 for entry in entries)
    significant = sum(entry.gain > 0 and entry.significant for entry in entries)
    gains = [entry.gain for entry in entries]
    return Verdict(
        target=first.target,
        claim=f"{ours}: better {first.metric.upper()} than {other}{f', {where}' if where else ''}",
        failed=better < len(entries),
        evidence=(
            f"better in {better} of {len(entries)} comparisons, significantly (95 %) in "
            f"{significant}; gain {min(gains):.3g} to {max(gains):.3g}"
        ),
        significant=significant == len(entries),
    )


def by_baseline(
    differences: Sequence[Difference],
    labels: Mapping[str, str],
    baselines: Sequence[str],
    **wanted: str | bool,
) -> list[Verdict]:
    """:func:`better_than` for each target, kind of split and baseline, over train fractions."""
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for entry in differences:
        if entry.baseline in baselines and all(
            getattr(entry, name) == value for name, value in wanted.items()
        ):
            groups.setdefault((entry.target, entry.split, entry.baseline), []).append(entry)
    return [
        better_than(entries, labels, f"{entries[0].head}, {split} splits")
        for (_, split, _), entries in groups.items()
    ]
