"""The only door to a project: who may do what. Another project's things do not exist."""

from django.utils.translation import gettext as _

from annotate.errors import AccessDenied, NotFound
from annotate.models import Member, Project, User
from annotate.models.project import Role

# What each role may do; a role that is not named may not.
MAY: dict[str, frozenset[str]] = {
    "view": frozenset(Role.values),
    "annotate": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER, Role.ANNOTATOR}),
    # Deciding where people disagree, without the machine's answer.
    "review": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER}),
    # Figures about the machines: not for those who only annotate, whom they could sway.
    "evidence": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER, Role.VIEWER}),
    # An exported file holds a machine label for every item: not for reviewers, who answer blind.
    "download": frozenset({Role.OWNER, Role.ADMIN, Role.VIEWER}),
    # What is spent, and on what: never those who are paid, or who decide what others are paid for.
    "money": frozenset({Role.OWNER, Role.ADMIN, Role.VIEWER}),
    "manage": frozenset({Role.OWNER, Role.ADMIN}),
    "own": frozenset({Role.OWNER}),
}


def project_for(user: User, name: str, *, to: str) -> Project:
    """The project with this slug or public id, if `user` may do `to` in it; else it is not found."""
    project = Project.objects.filter(slug=name).first() or Project.objects.filter(public_id=name).first()
    if project is None or membership(user, project) is None:
        raise _unknown(name)
    require(user, project, to=to)
    return project


def member_of(user: User, slug: str, *, to: str) -> Member:
    """The membership that lets `user` do `to` in the project `slug`, project loaded, in one query."""
    members = Member.objects.select_related("project")
    member = members.filter(project__slug=slug, user=user, user__is_active=True).first()
    if member is None:
        raise _unknown(slug)
    member.user = user
    return _checked(member, to)


def membership(user: User, project: Project) -> Member | None:
    """How `user` belongs to `project`, or None. A deactivated user belongs nowhere."""
    if not user.is_active:
        return None
    return Member.objects.filter(project=project, user=user).first()


def require(user: User, project: Project, *, to: str) -> Member:
    """The membership that lets `user` do `to`; AccessDenied says which role is missing."""
    member = membership(user, project)
    if member is None:
        raise _unknown(project.slug)
    member.project = project
    return _checked(member, to)


def _checked(member: Member, to: str) -> Member:
    if member.role not in MAY[to]:
        sentence = _("%(person)s is %(role)s in %(project)s; to %(to)s takes one of: %(roles)s.")
        roles = ", ".join(sorted(str(role) for role in MAY[to]))
        names = {"person": member.user, "role": member.role, "project": member.project, "to": to, "roles": roles}
        raise AccessDenied(sentence % names)
    return member


def _unknown(project: str) -> NotFound:
    return NotFound(_("There is no project %(project)r.") % {"project": project})
