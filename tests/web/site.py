"""A small site with one person per role, and every address in it: what the walks over all routes share."""

from dataclasses import dataclass, field
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from annotate import members, projects
from annotate.accounts import addresses, invitations, passwords, tokens
from annotate.imports import uploads
from annotate.labeling import leases
from annotate.models import AddressLink, Connection, Lease, Project, User
from annotate.models.project import Role
from annotate.models.run import Run
from tests.factories import make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import make_round

OTHER_ROLES = tuple(role for role in Role if role != Role.OWNER)


@dataclass
class Place:
    """One project with something of everything that an address can name."""

    project: Project
    people: dict[str, User] = field(default_factory=dict)
    ids: dict[str, Any] = field(default_factory=dict)
    lease: Lease | None = None


def make_place(name: str = "Walked") -> Place:
    place = Place(make_project(name=name, is_simulated=False))
    project, owner = place.project, owner_of(place.project)
    projects.set_guidelines(project=project, markdown="Xyzzy guideline", by=owner)
    make_round(project, [f"Plugh question {number}" for number in range(4)], overlap=3)
    place.people = {role.value: make_member(project, f"{role.label} Quux", role) for role in OTHER_ROLES}
    place.people |= {"owner": owner, "removed": make_member(project, "Removed Quux", Role.ADMIN)}
    members.remove(project=project, person=place.people["removed"].public_id, by=owner)
    invitation, token = invitations.invite(project=project, role=Role.VIEWER, by=owner, email="frobnitz@example.org")
    [place.lease] = leases.lease_next(project=project, annotator=place.people["annotator"])
    _, reset = passwords.make_link(user=place.people["viewer"], by=owner)
    proof = f"proof in {name}"
    expires = {"expires_at": invitation.expires_at, "token_sha256": addresses.digest(proof)}
    AddressLink.objects.create(user=owner, mailed_to=owner.email, **expires)
    api_token, _ = tokens.create(by=place.people["removed"], name="Quux program", scope="read")
    server = Connection.objects.create(name=f"{name} server", base_url="https://llm.example.org/v1", model="Quux-7b")
    server.lent_to.add(project)
    rows = [b"Plugh question 0\n", b"Plugh question 1 Plugh question 2\n"]
    sent = uploads.receive(project=project, by=owner, file_name="plugh.csv", chunks=rows)
    finished = {"state": Run.State.SUCCEEDED, "finished_at": project.created_at}
    place.ids = {
        "slug": project.slug,
        "person": place.people["viewer"].public_id,
        "invitation": invitation.public_id,
        "token": token,
        "reset": reset,
        "api_token": api_token.public_id,
        "account": place.people["viewer"].public_id,
        "proof": proof,
        "mail": "0" * 20,
        "connection": server.public_id,
        "run": Run.objects.create(project=project, kind="export", **finished).public_id,
        "name": "labels.csv",
        "version": "1",
        "round": 1,
        "upload": sent.public_id,
        "source": project.imports.earliest("pk").public_id,
        "item": project.items.earliest("pk").public_id,
    }
    return place


def make_stranger() -> User:
    """Sam owns another project with the same things in it."""
    return owner_of(make_place("Elsewhere").project)


def all_routes() -> list[tuple[str, str, URLPattern]]:
    """(name, path, pattern) of every page and action; what the API answers to has its own walk, in tests/api."""
    return [one for one in _routes(get_resolver()) if not is_of_api(one[2])]


def api_routes() -> list[tuple[str, str, URLPattern]]:
    return [one for one in _routes(get_resolver()) if is_of_api(one[2])]


def is_of_api(pattern: URLPattern) -> bool:
    return hasattr(pattern.callback, "cls")  # a view class of the REST framework


def _routes(resolver: URLResolver, prefix: str = "") -> list[tuple[str, str, URLPattern]]:
    found = []
    for one in resolver.url_patterns:
        path = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            found += _routes(one, path)
        else:
            found.append((one.name or "", path, one))
    return found


def address(name: str, place: Place, **other: str) -> str:
    pattern = next(pattern for known, _, pattern in all_routes() if known == name)
    ids = {**place.ids, **other}
    return reverse(name, kwargs={key: ids[key] for key in pattern.pattern.converters})


def make_newcomer() -> User:
    return make_user("Newcomer")
