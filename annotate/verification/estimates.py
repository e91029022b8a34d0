"""Checks of stored figures: against the inputs that they were computed from, and these against the rows (S-6)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from annotate.learning import audit as audits
from annotate.learning import delivery, estimation
from annotate.learning.audit import Audit
from annotate.models import DeliveredVersion, Estimate, EstimateInputs, Project
from annotate.verification import inputs
from annotate.verification.outcome import Finding, NotChecked
from annotate.verification.records import encoder_obstacle

_LOOK = Estimate.Estimand.LOOK
_FIGURES = ("value", "low", "high")
_FACTS = ("n", "n_unresolved", "population", "method", "reason")
_NO_FIGURE = NotChecked("no figure is stored yet")


def figures_follow_from_the_audit(project: Project) -> Iterator[Finding]:
    """S-6: the figures of each delivered version, looks included, equal those computed anew from their kept inputs.

    Those of the version in force are computed from the rows, too. Figures of earlier versions of this program have no
    inputs, and Wilson's interval where an exact one is made today.
    """
    versions = _with_figures(project)
    if not versions:
        yield _NO_FIGURE
    in_force = delivery.existing(project)
    for row in versions:
        stored = list(row.estimates.select_related("label").order_by("id"))
        kept = EstimateInputs.objects.filter(delivered_version=row).first()
        if kept is not None:
            yield from _compare(row, stored, audits.read(kept))
        if row == in_force and row.model and (why := encoder_obstacle(project)):
            yield NotChecked(f"the figures of {row} against the rows as they are: {why}", is_part=kept is not None)
        elif row == in_force:
            yield from _compare(row, [one for one in stored if one.estimand != _LOOK], _now(project, row))
        elif kept is None:
            yield NotChecked(
                f"{len(stored)} figures of {row}: stored before their inputs were kept, and the project changed since",
                is_part=len(versions) > 1,
            )


def inputs_are_the_rows_of_their_time(project: Project) -> Iterator[Finding]:
    """S-6: what figures were computed from was in the rows then: sample, cut-off, gold, its blindness, labels, A."""
    versions = _with_figures(project)
    if not versions:
        yield _NO_FIGURE
    for row in versions:
        kept = EstimateInputs.objects.filter(delivered_version=row).first()
        if kept is None:
            yield NotChecked(f"the figures of {row}: stored before their inputs were kept", is_part=len(versions) > 1)
        else:
            yield from inputs.problems(row, audits.read(kept), kept.created_at)


def _with_figures(project: Project) -> list[DeliveredVersion]:
    """The delivered versions that have figures or inputs of figures."""
    rows = project.delivered_versions.select_related("schema", "model", "prompt").order_by("version")
    has = rows.filter(estimates__isnull=False) | rows.filter(estimate_inputs__isnull=False)
    return list(has.distinct())


def _now(project: Project, row: DeliveredVersion) -> Audit:
    """The audit from the rows as they are, as if no look at the target was due."""
    frozen = delivery.load(row)
    audit = estimation.with_new_data(frozen, audits.load(project, frozen))  # the check is inside a snapshot already
    return replace(audit, sizes=replace(audit.sizes, target_accuracy=None))


def _compare(row: DeliveredVersion, stored: list[Estimate], audit: Audit) -> Iterator[str]:
    expected = _by_kind(_figures(row, audit))
    earlier: dict[Any, Estimate] = {}
    for kept in stored:
        kind = (kept.estimand, kept.label_id)
        if kind in expected and _is_same(kept, expected[kind]):
            continue
        earlier = earlier or _by_kind(_figures(row, replace(audit, interval="wilson")))
        if kind not in earlier or not _is_same(kept, earlier[kind]):
            yield f"the stored figure {_name(kept)} of {row} is not the one that its rows give"
    there = {(one.estimand, one.label_id) for one in stored}
    for kind, one in expected.items():
        if kind not in there:
            yield f"the figure {_name(one)} of {row} is gone"


def _figures(row: DeliveredVersion, audit: Audit) -> list[Estimate]:
    look = estimation.look_at(audit)
    return [*estimation.figures(row, audit), *([look] if look else [])]


def _by_kind(figures: Iterable[Estimate]) -> dict[Any, Estimate]:
    return {(figure.estimand, figure.label and figure.label.pk): figure for figure in figures}


def _name(figure: Estimate) -> str:
    return f"{figure.estimand} of {figure.label.name!r}" if figure.label else figure.estimand


def _is_same(one: Estimate, other: Estimate) -> bool:
    same = all(_is_close(getattr(one, name), getattr(other, name)) for name in _FIGURES)
    # Figures of before downloads were recorded do not know how many answers came from people who had a file.
    same = same and one.n_had_file in (None, other.n_had_file)
    return same and all(getattr(one, name) == getattr(other, name) for name in _FACTS)


def _is_close(one: float | None, other: float | None) -> bool:
    """Whether they are equal up to the last digits, in which versions of the libraries may differ."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
