"""Decides what of a restored site goes on: nobody is in the middle of anything, nothing is paid or mailed yet.

The site that the backup is of may still be running. What it did after the backup is unknown here.
"""

from dataclasses import asdict, dataclass, field

from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils.translation import gettext as _

from annotate import restored
from annotate.errors import AccessDenied, Conflict, NotFound
from annotate.labeling import slots
from annotate.models import Connection, Lease, Run, User
from annotate.models.base import database_now
from annotate.models.project import Role
from annotate.money import ledger, payments
from annotate.runs import interruption, lifecycle

_LEASES_AT_ONCE = 500


@dataclass
class Aftermath:
    """What was ended when the site was restored."""

    n_leases: int = 0
    n_sessions: int = 0
    n_written_off: int = 0
    n_runs: int = 0  # given back to the queue, or ended
    paused: list[str] = field(default_factory=list)  # public ids of runs that cost money
    keys_forgotten: list[str] = field(default_factory=list)  # public ids of connections


@transaction.atomic
def settle(*, made_at: str, forgets_keys: bool) -> Aftermath:
    """End what was under way when the backup was taken, and record it; all of it or nothing.

    Leases are released, sessions ended, runs that cost money paused, other runs queued again (a command's run ends),
    calls in flight written off. `forgets_keys`: keys of LLM servers that cannot be decrypted any more are deleted.
    """
    done = Aftermath(n_leases=_release_leases(), n_sessions=Session.objects.all().delete()[0])
    paid = Run.objects.filter(kind="prelabel", project__connection__isnull=False)
    message = _("Paused, because the site was restored from a backup. It goes on when somebody resumes it.")
    done.paused = [run.public_id for run in interruption.pause(paid, message)]
    done.n_runs = interruption.give_back(Run.objects.exclude(pk__in=paid.values("pk")))
    done.n_written_off = ledger.write_off_sent(_("In flight when the backup was taken."))
    payments.sweep()
    if forgets_keys:
        with_key = Connection.objects.exclude(key_encrypted=b"")
        done.keys_forgotten = list(with_key.values_list("public_id", flat=True))  # the event explains it to the seals
        with_key.update(key_encrypted=b"", key_hint="")
    restored.note(made_at=made_at, **asdict(done))
    return done


def confirm(by: User | None = None) -> tuple[int, list[str]]:
    """Let mail go out again and resume the runs that the restore paused; how many, and which could not be resumed.

    Conflict if nothing waits for it.
    """
    event = restored.unconfirmed()
    if event is None:
        raise Conflict(_("Nothing waits to be confirmed: this site was not restored, or that was confirmed."))
    n_resumed, others = 0, []
    for run in Run.objects.filter(public_id__in=event.data["paused"], state=Run.State.PAUSED).order_by("pk"):
        owner = User.objects.filter(memberships__project=run.project, memberships__role=Role.OWNER).first()
        try:
            if owner is None:
                raise NotFound(_("The project has no owner."))
            lifecycle.resume(run=run, by=owner)
            n_resumed += 1
        except (AccessDenied, Conflict, NotFound) as error:
            others.append(f"{run.public_id}: {error}")
    restored.confirm(by, n_resumed=n_resumed)
    return n_resumed, others


def _release_leases() -> int:
    now, n_ended = database_now(), 0
    active = Lease.objects.filter(ended_at__isnull=True).order_by("pk")
    while some := list(active.values_list("pk", flat=True)[:_LEASES_AT_ONCE]):
        n_ended += slots.end(Lease.objects.filter(pk__in=some), outcome=Lease.Outcome.RELEASED, now=now)
    return n_ended
