"""Decides who may do what in a project, by role. For whoever is no member the project does not exist."""

from django.db.models import BigIntegerField, CharField, OuterRef, QuerySet, Subquery, Value
from django.utils.translation import gettext as _

from annotate.errors import AccessDenied, NotFound
from annotate.models import LabelSchema, Member, Project, User
from annotate.models.compiled import CompiledQuery
from annotate.models.project import Role

# The roles that may do each thing; all other roles may not.
MAY: dict[str, frozenset[str]] = {
    "view": frozenset(Role.values),
    "annotate": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER, Role.ANNOTATOR}),
    # Decide disputes, without seeing the machine's answer.
    "review": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER}),
    # See figures about the machines. Not for annotators, whose answers these could influence.
    "evidence": frozenset({Role.OWNER, Role.ADMIN, Role.REVIEWER, Role.VIEWER}),
    # Get exported files, which hold a machine label for every item. Not for reviewers, who answer blind.
    "download": frozenset({Role.OWNER, Role.ADMIN, Role.VIEWER}),
    # See what is spent, and on what. Not for those who are paid, nor for those who decide what is paid.
    "money": frozenset({Role.OWNER, Role.ADMIN, Role.VIEWER}),
    "manage": frozenset({Role.OWNER, Role.ADMIN}),
    "own": frozenset({Role.OWNER}),
}


def project_for(user: User, name: str, *, to: str) -> Project:
    """The project with this slug or public id; NotFound for strangers, AccessDenied for members who may not do `to`."""
    project = Project.objects.filter(slug=name).first() or Project.objects.filter(public_id=name).first()
    if project is None or membership(user, project) is None:
        raise _unknown(name)
    require(user, project, to=to)
    return project


def member_of(user: User, slug: str, *, to: str) -> Member:
    """As `project_for`, but returns the membership, with its project loaded, in one query: for pages and endpoints.

    `schema_version` of the row is the version of the labels in force.
    """
    member: Member | None = next(iter(_MEMBER.objects(slug=slug, person=user.pk)), None)
    if member is None:
        raise _unknown(slug)
    member.user = user
    return _checked(member, to)


def membership(user: User, project: Project) -> Member | None:
    """The membership of `user` in `project`; None for strangers and for deactivated users."""
    if not user.is_active:
        return None
    return Member.objects.filter(project=project, user=user).first()


def require(user: User, project: Project, *, to: str) -> Member:
    """The membership that lets `user` do `to` (a key of MAY) in `project`; AccessDenied names the roles that could."""
    member = membership(user, project)
    if member is None:
        raise _unknown(project.slug)
    member.project = project
    return _checked(member, to)


def require_site_owner(by: User) -> None:
    """AccessDenied unless `by` owns this site."""
    if not (by.is_active and by.is_site_owner):
        raise AccessDenied(_("Only those who run this site may do this."))


def require_hand_over(by: User, project: Project) -> None:
    """AccessDenied unless `by` may make somebody else the project's owner: its owner may, and, where that account is
    deactivated, owners of the site. For others who are no members the project does not exist.
    """
    owner = Member.objects.select_related("user").filter(project=project, role=Role.OWNER).first()
    if by.is_active and by.is_site_owner and (owner is None or not owner.user.is_active):
        return
    require(by, project, to="own")


def _member(*, slug: Value, person: Value) -> QuerySet[Member]:
    members = Member.objects.select_related("project").filter(project__slug=slug, user=person, user__is_active=True)
    schemas = LabelSchema.objects.filter(project=OuterRef("project")).order_by("-version")
    # By a dict: the row's class declares the attribute, and mypy would see it defined twice.
    facts = {"schema_version": Subquery(schemas.values("version")[:1])}
    return members.annotate(**facts).order_by("pk")[:1]


# Asked by every page of a project.
_MEMBER = CompiledQuery(_member, slug=CharField(), person=BigIntegerField())


def _checked(member: Member, to: str) -> Member:
    if member.role not in MAY[to]:
        sentence = _("%(person)s is %(role)s in %(project)s; to %(to)s takes one of: %(roles)s.")
        roles = ", ".join(sorted(str(role) for role in MAY[to]))
        names = {"person": member.user, "role": member.role, "project": member.project, "to": to, "roles": roles}
        raise AccessDenied(sentence % names)
    return member


def _unknown(project: str) -> NotFound:
    return NotFound(_("There is no project %(project)r.") % {"project": project})
