"""Decides whether a project keeps the invariants (docs/invariants.md): the checks that `verify` runs, in this order.

Each check computes a fact anew from the rows and yields one sentence per violation, which names the row.
"""

from collections.abc import Callable, Iterator

from annotate.errors import GoldloopError
from annotate.learning import artefacts
from annotate.models import ModelVersion, Project
from annotate.models.snapshot import read_snapshot
from annotate.verification import answers, failures, gold, money, records, samples

Check = Callable[[Project], Iterator[str]]

CHECKS: dict[str, Check] = {
    "random numbers and folds follow from the key": samples.numbers_follow_from_key,
    "samples are complete up to their marks": samples.samples_are_complete,
    "answers stay within the overlap": answers.answers_within_overlap,
    "one current answer per person and item": answers.annotations_are_revisions,
    "leases end with their round": answers.leases_end_with_their_round,
    "counted answers had a lease": answers.counted_answers_had_a_lease,
    "blind questions show nothing": answers.blind_arms_show_nothing,
    "who saw a label answers as not blind": answers.who_saw_answers_as_not_blind,
    "who had the file is marked": answers.who_had_the_file_is_marked,
    "gold stands in answers": gold.gold_has_its_answer,
    "what reviewers decided stands": gold.decisions_stand,
    "audit gold never trains": gold.audit_gold_never_trains,
    "gold on audited items came before the audit": gold.audited_items_keep_their_gold,
    "failures are labels nowhere": failures.failures_are_no_labels,
    "figures follow from the audit sample": gold.figures_follow_from_the_audit,
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
    try:
        with read_snapshot():
            return next(check(Project.objects.get(pk=project.pk)), None)
    except GoldloopError as error:  # a damaged file is a violation
        return str(error)


def rebuild_problem(model: ModelVersion) -> str | None:
    """Train a model again from its snapshot: how it differs from the stored one, or None where its promise holds (I-7).

    The method says what is promised: equal bit by bit, or nearly equal.
    """
    try:
        return artefacts.rebuild_and_compare(model)
    except GoldloopError as error:
        return str(error)
