"""Decides in which sentences pages say what proves accounts, and what deactivating one does."""

from collections.abc import Iterable

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import members
from annotate.deactivation import Deactivated, Impact
from annotate.models import Member


def unproven(people: Iterable[Member]) -> str:
    """A sentence on those of these members who may answer and whose accounts prove nothing; empty without any."""
    n, m = members.n_unproven(people)
    if not n:
        return ""
    if m == 1:
        return _("The only person who may answer has an address that nothing proves.")
    sentence = ngettext(
        "%(n)d of %(m)d people who may answer has an address that nothing proves.",
        "%(n)d of %(m)d people who may answer have an address that nothing proves.",
        n,
    )
    return f"{sentence % {'n': n, 'm': m}} {_('Two accounts may be one person, who then agrees with themselves.')}"


def before(impact: Impact) -> list[str]:
    """What deactivating will do, in sentences; what it would do nothing to is left out."""
    return [sentence for sentence in (*_ends(impact), *_stays(impact)) if sentence]


def after(done: Deactivated) -> str:
    """What deactivating did."""
    said = [_("%(person)s is deactivated.") % {"person": done.person}, *_done(done)]
    said += [
        _("%(person)s owns %(project)s now.") % {"person": one.new, "project": one.project} for one in done.handed_over
    ]
    return " ".join(said)


def _ends(impact: Impact) -> list[str]:
    counts = [
        (
            impact.n_sessions,
            ngettext("%(n)d session ends.", "%(n)d sessions end.", impact.n_sessions),
        ),
        (
            impact.n_tokens,
            ngettext("%(n)d token for programs ends.", "%(n)d tokens for programs end.", impact.n_tokens),
        ),
        (
            impact.n_leases,
            ngettext("%(n)d held item goes back to others.", "%(n)d held items go back to others.", impact.n_leases),
        ),
        (
            impact.n_invitations,
            ngettext("%(n)d open invitation ends.", "%(n)d open invitations end.", impact.n_invitations),
        ),
        (impact.n_links, ngettext("%(n)d open link ends.", "%(n)d open links end.", impact.n_links)),
        (
            len(impact.runs),
            ngettext(
                "%(n)d run that they started pauses; it goes on for whoever resumes it.",
                "%(n)d runs that they started pause; each goes on for whoever resumes it.",
                len(impact.runs),
            ),
        ),
    ]
    return [sentence % {"n": n} for n, sentence in counts if n]


def _stays(impact: Impact) -> list[str]:
    answers = ngettext("%(n)d answer stays as it is.", "%(n)d answers stay as they are.", impact.n_answers)
    return [
        answers % {"n": impact.n_answers} if impact.n_answers else "",
        _("They cannot sign in, by password, token or link, until the account is opened again."),
    ]


def _done(done: Deactivated) -> list[str]:
    held = ngettext("%(n)d held item went back.", "%(n)d held items went back.", done.n_leases) % {"n": done.n_leases}
    paused = ngettext("%(n)d run was paused.", "%(n)d runs were paused.", len(done.runs)) % {"n": len(done.runs)}
    return [held] * bool(done.n_leases) + [paused] * bool(done.runs)
