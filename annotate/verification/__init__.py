"""Decides whether a project keeps the invariants (docs/invariants.md): the checks that `verify` runs, in this order.

Each check computes a fact anew from the rows and yields one sentence per violation, which names the row, and
`NotChecked` for what it could not look at. Silence of a check about rows means that each row was looked at, be there
rows or not; a check of things that are made (models, figures, seals) says so while there is none.
"""

from annotate.errors import GoldloopError
from annotate.learning import artefacts, delivery
from annotate.models import DeliveredVersion, ModelVersion, Project
from annotate.verification import (
    answers,
    estimates,
    events,
    failures,
    gold,
    gold_rule,
    money,
    questions,
    records,
    samples,
    seals,
)
from annotate.verification.outcome import Check, NotChecked, Outcome, outcome
from annotate.verification.seals import kept_head

__all__ = [
    "CHECKS",
    "Check",
    "NotChecked",
    "Outcome",
    "first_problem",
    "kept_head",
    "outcome",
    "rebuild_problem",
    "refreeze_problem",
]

CHECKS: dict[str, Check] = {
    "the chain of seals is whole": seals.chain_is_whole,
    "the site's chain of seals is whole": seals.site_chain_is_whole,
    "sealed rows are as they were sealed": seals.rows_are_as_sealed,
    "the site's sealed rows are as they were sealed": seals.site_rows_are_as_sealed,
    "random numbers and folds follow from the key": samples.numbers_follow_from_key,
    "samples are complete up to their marks": samples.samples_are_complete,
    "answers stay within the overlap": answers.answers_within_overlap,
    "one current answer per person and item": answers.annotations_are_revisions,
    "states follow from the answers": questions.states_follow_from_the_answers,
    "leases end with their round": answers.leases_end_with_their_round,
    "counted answers had a lease": answers.counted_answers_had_a_lease,
    "blind questions show nothing": answers.blind_arms_show_nothing,
    "who saw a label answers as not blind": answers.who_saw_answers_as_not_blind,
    "who had the file is marked": answers.who_had_the_file_is_marked,
    "draws came with their round": events.draws_came_with_their_round,
    "members came by an event": events.members_came_by_an_event,
    "guidelines came by an event": events.guidelines_came_by_an_event,
    "gold ends for a reason": gold_rule.gold_ends_for_a_reason,
    "answers that agree have gold": gold_rule.agreeing_answers_have_gold,
    "gold stands in answers": gold.gold_has_its_answer,
    "what reviewers decided stands": gold.decisions_stand,
    "audit gold never trains": gold.audit_gold_never_trains,
    "gold on audited items came before the audit": gold.audited_items_keep_their_gold,
    "failures are labels nowhere": failures.failures_are_no_labels,
    "figures follow from the audit sample": estimates.figures_follow_from_the_audit,
    "figures were computed from the rows of their time": estimates.inputs_are_the_rows_of_their_time,
    "files have their checksums": records.files_have_their_checksums,
    "every run ends": records.every_run_ends,
    "money adds up": money.money_adds_up,
    "each attempt to spend ends once": money.each_attempt_ends_once,
    "people were paid what was settled": money.people_were_paid,
    "keys stay secret": records.keys_stay_secret,
    "counters equal a recount": records.counters_equal_a_recount,
}


def first_problem(check: Check, project: Project) -> str | None:
    """The first violation that `check` finds in the project, all rows read at one point in time; None without any."""
    return next(iter(outcome(check, project).problems), None)


def rebuild_problem(model: ModelVersion) -> str | None:
    """Train a model again from its snapshot: how it differs from the stored one, or None where its promise holds (I-7).

    The method says what is promised: equal bit by bit, or nearly equal.
    """
    try:
        return artefacts.rebuild_and_compare(model)
    except GoldloopError as error:
        return str(error)


def refreeze_problem(row: DeliveredVersion) -> str | None:
    """Compute the labels of the delivered version in force again: how they differ from the frozen ones, or None."""
    try:
        return delivery.differs_when_made_again(row)
    except GoldloopError as error:
        return str(error)
