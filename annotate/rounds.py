"""Decides which items go to people next, and why: scores the pool, draws a round, closes it (docs/loop.md)."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import access, labels, projects, samples
from annotate.errors import Conflict, InvalidInput
from annotate.labeling import leases, slots, visibility
from annotate.learning import delivery, pool
from annotate.learning import named as naming
from annotate.models import Draw, Label, Project, QueueEntry, Round, User
from annotate.models.base import database_now
from annotate.models.event import record
from annotate.models.project import Arm, Strategy, SuggestionPolicy
from annotate.runs import lifecycle
from annotate.samples import absorb_late, advance_cutoffs
from models_ml.acquisition import rounds, scores, shortfall
from models_ml.arrays import Bools, Matrix
from models_ml.seeds import generator

SAMPLES = (Arm.AUDIT, Arm.RANDOM)


def draw_round(
    *,
    project: Project,
    batch: int = 100,
    by: User,
    everything: bool = False,
    names: Sequence[str] = (),
    request: Label | None = None,
    show: lifecycle.Show | None = None,
) -> Round:
    """Open the next round with `batch` questions, or fewer where the pool has no more to ask.

    Instead of `batch`: `everything` asks every item without gold, `names` (ids) the items of a list. The samples are
    drawn as in any round; a list must not be made by arm, split or permanent random number while a sample grows.
    Freezes a delivered version first, whose posterior scores the items. With a `request` all questions are drawn at
    random, blind, among the items that this version delivers that label for (the arm `request`). Conflict while a
    round is open, and if no item is left to ask.
    """
    access.require(by, project, to="manage")
    if batch < 1:
        raise InvalidInput(_("A round needs at least one question; %(batch)s were asked for.") % {"batch": batch})
    if everything and names:
        raise InvalidInput(_("A round asks everything or the items of a list, one of the two."))
    if project.rounds.filter(state=Round.State.OPEN).exists():
        raise Conflict(_("%(project)s has an open round; close it before drawing the next.") % {"project": project})
    with lifecycle.start(kind="draw", project=project, by=by, show=show) as attempt:
        frozen = delivery.current(project=project, by=by)
        index = (project.rounds.aggregate(last=Max("index"))["last"] or 0) + 1
        random = generator(project.seed, "round", index)
        items = pool.load(project)
        frame = _state(project, items)
        if request:
            shares = {"request": 1.0}
            plan = _plan_request(frozen, frame, items, batch, request, random)
            short = shortfall.of_request(frame, plan, batch=batch)
            size: dict[str, Any] = {"asked_for": batch, "n_known": 0, "short": [asdict(row) for row in short]}
        else:
            arms, score = _shares(project, index), _scores(project, frozen, items, random)
            named = _named(project, frame, items, everything, names)
            if named is not None:
                batch = int((named.items & ~frame.has_gold & ~frame.has_blind_gold).sum())
            plan = rounds.plan_round(frame, scores=score, batch=batch, shares=arms, generator=random, named=named)
            if not len(plan.ask) or not batch:
                raise Conflict(_why_nothing_is_asked(project, items, named))
            size = _size(frame, plan, named, batch=batch, shares=arms, has_scores=score is not None)
            shares, plan = asdict(arms), _with_known_pi(plan, project, items)
        with transaction.atomic():
            attempt.write(len(plan.ask), len(plan.ask))
            new = Round(
                project=project,
                index=index,
                batch=batch,
                shares=shares,
                strategy=project.strategy,
                scored_with=frozen.row,
                seed=project.seed,
                run=attempt.run,
                opened_by=by,
            )
            return _open(new, plan, items, size)


def close_round(*, project: Project, by: User, force: bool = False, attempt: lifecycle.Attempt | None = None) -> Round:
    """Close the open round and move the samples' cut-offs to the last items that it drew for them.

    Each sample is complete further under the labels in force where the round asked again what a change made void.

    Conflict while questions are open, unless `force`: then they become unresolved, and unresolved audited items widen
    the audit's interval by their worst case. `attempt`: of the run that closes the round; None where a command does.
    """
    access.require(by, project, to="manage")
    with transaction.atomic():
        # no_key: a transaction that stores gold locks its question, then the round's key for the foreign key. Locking
        # the key here and the questions next could end in a deadlock.
        locked = Round.objects.select_for_update(no_key=True)
        current = locked.filter(project=project, state=Round.State.OPEN).first()
        if current is None:
            raise Conflict(_("%(project)s has no open round.") % {"project": project})
        slots.lock(current.queue.values("pk"))  # answers being stored are committed before, or find the round closed
        waiting = current.queue.filter(state=QueueEntry.State.OPEN)
        n_waiting = waiting.count()
        if n_waiting and not force:
            raise Conflict(
                ngettext(
                    "%(n)s question of round %(index)s is not answered yet. Close it anyway with --force: "
                    "it becomes unresolved.",
                    "%(n)s questions of round %(index)s are not answered yet. Close it anyway with --force: "
                    "they become unresolved.",
                    n_waiting,
                )
                % {"n": n_waiting, "index": current.index}
            )
        now = database_now()
        leases.close_questions(waiting, now=now)
        visibility.record_shown(current)
        advance_cutoffs(current)
        current.state, current.closed_at, current.closed_by = Round.State.CLOSED, now, by
        if attempt:
            attempt.write(0)
            current.closing_run = attempt.run
        fields = ["state", "closed_at", "closed_by", "closing_run", "audit_cutoff", "reference_cutoff"]
        current.save(update_fields=fields)
        absorb_late(project=project)
        samples.complete_samples(projects.current_schema(project), closed=current)
        record("round.closed", project=project, by=by, round=current.index, n_unresolved=n_waiting)
        return current


def _shares(project: Project, index: int) -> rounds.Shares:
    """Which share of round `index` (1, 2, …) each arm gets, with the project's own audit share where one is set."""
    first, later = rounds.FIRST_ROUND, rounds.LATER
    if project.audit_share is not None:
        first = replace(first, audit=project.audit_share, reference=1 - project.audit_share)
        later = replace(later, audit=project.audit_share, reference=min(later.reference, 1 - project.audit_share))
    return rounds.shares_for(
        index - 1,
        audit_target=project.audit_target,
        reference_target=project.reference_target,
        first=first,
        later=later,
    )


def _state(project: Project, items: pool.Pool) -> rounds.SamplingFrame:
    """The pool as `plan_round` takes it: per item, its samples, what they still have to ask of it, and its gold.

    What a change of labels made void in a sample is open again, whatever was said of it before.
    """
    history = labels.current(project)
    gold = pool.load_gold(items, history)
    again = items.mask(samples.to_ask_again(history.schema))
    in_audit = pool.drawn(items, project, Arm.AUDIT)
    in_reference = pool.drawn(items, project, Arm.RANDOM)
    has_blind = gold.blind != pool.NO_LABEL
    # A sample still has to ask an item without blind gold that nobody has answered or skipped blind.
    unasked = again | (~has_blind & ~_answered_blind(project, items, history))
    return rounds.SamplingFrame(
        prn=items.prn,
        is_selected=pool.is_selected(items, project),
        in_audit=in_audit,
        audit_open=in_audit & unasked,
        in_reference=in_reference,
        reference_open=in_reference & unasked,
        has_blind_gold=has_blind,
        has_gold=gold.delivered != pool.NO_LABEL,
        conflict=pool.disputed(items, history, gold),
    )


def _named(
    project: Project, frame: rounds.SamplingFrame, items: pool.Pool, everything: bool, names: Sequence[str]
) -> rounds.Named | None:
    """What somebody wants asked besides the samples, whatever the strategy would choose."""
    if everything:
        return rounds.Named(np.ones(len(frame), dtype=np.bool_), "everything was asked for")
    return rounds.Named(naming.find(project, items, names), "asked for by name") if names else None


def _size(
    frame: rounds.SamplingFrame,
    plan: rounds.RoundPlan,
    named: rounds.Named | None,
    *,
    batch: int,
    shares: rounds.Shares,
    has_scores: bool,
) -> dict[str, Any]:
    """What is recorded of the round's size: the questions asked for, and why there are fewer (reports/round_sizes)."""
    if named is not None:
        n_known = int((named.items & (frame.has_gold | frame.has_blind_gold)).sum())
        return {"asked_for": batch, "n_known": n_known if not named.items.all() else 0, "short": []}
    short = shortfall.shortfalls(frame, plan, batch=batch, shares=shares, has_scores=has_scores)
    return {"asked_for": batch, "n_known": 0, "short": [asdict(row) for row in short]}


def _answered_blind(project: Project, items: pool.Pool, history: labels.LabelHistory) -> Bools:
    """(N,) items with a current, counted, blind answer or skip; answers whose label is void are none."""
    answers = project.annotations.filter(is_current=True, is_counted=True, is_blind=True)
    void = [label for label in history.label_ids if history.gold_index(label) == pool.NO_LABEL]
    return items.mask(answers.exclude(label__in=void).values_list("item_id", flat=True))


def _scores(project: Project, frozen: delivery.Frozen, items: pool.Pool, random: np.random.Generator) -> Matrix | None:
    """(N,) the strategy's score of each item, larger: asked sooner; None while there is neither silver nor a model.

    The strategy at random gives uniform numbers; all others score the delivered posterior.
    """
    if project.strategy == Strategy.RANDOM:
        return random.random(len(items))
    posterior = frozen.posterior_at(items.ordinal)
    if posterior is None:
        return None
    score: Matrix = getattr(scores, project.strategy)(posterior)
    return score.astype(np.float64)


def _plan_request(
    frozen: delivery.Frozen,
    frame: rounds.SamplingFrame,
    items: pool.Pool,
    batch: int,
    label: Label,
    random: np.random.Generator,
) -> rounds.RoundPlan:
    """`batch` questions among the items outside A whose machine label is `label`, one of those in force.

    InvalidInput for a label of another version or project; Conflict where there is no such item.
    """
    if label.schema_id != frozen.row.schema_id:
        raise InvalidInput(_("%(label)s is not one of the labels in force.") % {"label": label})
    stratum = frozen.at("label", items.ordinal) == label.index
    reason = f"asked for: predicted {label.name} by delivered version {frozen.row.version}"
    plan = rounds.plan_request(frame, stratum=stratum, batch=batch, reason=reason, generator=random)
    if not len(plan.ask):
        sentence = _(
            "No item that was not picked before is predicted %(label)s, so there is nothing to request. Pre-label or "
            "train first, or request items of the labels that it is mistaken for."
        )
        raise Conflict(sentence % {"label": label})
    return plan


def _with_known_pi(plan: rounds.RoundPlan, project: Project, items: pool.Pool) -> rounds.RoundPlan:
    """The plan; under the strategy at random, with the inclusion probability of each active pick instead of 1."""
    if project.strategy != Strategy.RANDOM:
        return plan
    n_picked = len(plan.picked(Arm.ACTIVE))
    n_candidates = len(items) - int(pool.is_selected(items, project).sum()) - len(plan.picked(Arm.RANDOM))
    pi = min(1.0, n_picked / max(n_candidates, 1))
    picks = (replace(pick, pi=pi, reason="at random") if pick.arm == Arm.ACTIVE else pick for pick in plan.picks)
    return replace(plan, picks=tuple(picks))


def _open(new: Round, plan: rounds.RoundPlan, items: pool.Pool, size: dict[str, Any]) -> Round:
    """Store the round with its draws and questions; Conflict if another process has opened a round meanwhile."""
    project = new.project
    try:
        with transaction.atomic():
            new.save(force_insert=True)
    except IntegrityError:
        raise Conflict(_("Another round of %(project)s has just been opened.") % {"project": project}) from None
    _store_draws(new, plan.picks, items)
    suggestion = _suggestions(project, plan)
    QueueEntry.objects.bulk_create(
        QueueEntry(
            round=new,
            item_id=items.ids[position],
            position=place,
            overlap=project.overlap,
            is_blind=suggestion[position] != SuggestionPolicy.SHOWN,
            suggestion=suggestion[position],
        )
        for place, position in enumerate(plan.ask, start=1)
    )
    counts = {arm: len(plan.picked(arm)) for arm in sorted({pick.arm for pick in plan.picks})}
    facts = {"round": new.index, "n_questions": len(plan.ask), "draws": counts, **size}
    record("round.opened", project=project, by=new.opened_by, **facts)
    return new


def _store_draws(new: Round, picks: Sequence[rounds.Pick], items: pool.Pool) -> None:
    """Store a draw for each pick, except of items that are in that sample already and are only asked again."""
    in_samples = {
        (item, arm)
        for item, arm in Draw.objects.filter(project=new.project, arm__in=SAMPLES).values_list("item_id", "arm")
    }
    Draw.objects.bulk_create(
        Draw(
            project=new.project,
            item_id=items.ids[pick.position],
            round=new,
            arm=pick.arm,
            pi=pick.pi,
            score=pick.score,
            reason=pick.reason,
        )
        for pick in picks
        if (int(items.ids[pick.position]), pick.arm) not in in_samples
    )


def _suggestions(project: Project, plan: rounds.RoundPlan) -> dict[int, str]:
    """The suggestion policy of each question, by position: hidden if an always blind arm ever drew the item."""
    arms: dict[int, set[str]] = {int(position): set() for position in plan.ask}
    for pick in plan.picks:
        arms.setdefault(pick.position, set()).add(pick.arm)
    shown = {position: project.suggestion_for(drawn_by) for position, drawn_by in arms.items()}
    always = dict.fromkeys(map(int, plan.ask[plan.blind]), SuggestionPolicy.HIDDEN.value)
    return {**shown, **always}


def _why_nothing_is_asked(project: Project, items: pool.Pool, named: rounds.Named | None) -> str:
    """The sentence for a round that would have no question."""
    if named is None or not len(items):
        return _why_nothing_is_left(project, items)
    n = int(named.items.sum())
    sentence = ngettext(
        "The %(n)s item asked for has gold already; nothing is left to ask.",
        "All %(n)s items asked for have gold already; nothing is left to ask.",
        n,
    )
    return sentence % {"n": f"{n:,}"}


def _why_nothing_is_left(project: Project, items: pool.Pool) -> str:
    """The sentence for a round that would have no question."""
    if not len(items):
        return _("%(project)s has no items yet; import some first.") % {"project": project}
    if delivery.knows_nothing(project):
        sentence = _(
            "The samples of %(project)s are full, and nothing says what else to ask: "
            "pre-label or train first, or label everything."
        )
        return sentence % {"project": project}
    return _("Every item of %(project)s has been drawn; nothing is left to ask.") % {"project": project}
