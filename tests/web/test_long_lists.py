"""Lists that grow come in pages: each page is bounded, and the pages together hold every row once."""

import re
from datetime import timedelta
from itertools import count

import pytest
from django.urls import reverse

from annotate.models import GuidelineVersion, Invitation, LabelSchema, Member
from annotate.models.base import database_now
from annotate.web import connections, exports, label_settings, people, project_settings, projects, training
from tests.factories import make_connection, make_project, make_user, owner_of
from tests.rows import make_export, make_model, make_run, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.portable, pytest.mark.usefixtures("keys_in_a_temporary_folder")]
_numbers = count()


def members(project, n):
    for _ in range(n):
        Member.objects.create(project=project, user=make_user("Mem"), role="viewer")


def invitations(project, n):
    later = database_now() + timedelta(days=1)
    for place in range(n):
        Invitation.objects.create(
            project=project, role="viewer", email=f"inv{place}@example.org", token_sha256=f"{next(_numbers):064d}",
            created_by=owner_of(project), expires_at=later,
        )  # fmt: skip


def my_projects(project, n):
    for _ in range(n):
        make_project(by=owner_of(project))


def guidelines(project, n):
    for version in range(1, n + 1):
        GuidelineVersion.objects.create(project=project, version=version, markdown="x")


def label_versions(project, n):
    for version in range(2, n + 1):
        LabelSchema.objects.create(project=project, version=version)


def models(project, n):
    for version in range(1, n + 1):
        make_model(project, version)


def made_exports(project, n):
    version = make_version(project)
    for _ in range(n):
        make_export(version, run=make_run(project, kind="export"))


def all_connections(project, n):
    for _ in range(n):
        make_connection(owner_of(project))


# what grows: (how rows are made, page, pattern of one row, most rows of a page, parameter)
LISTS = {
    "members": (members, "people-list", r"people/\w+/remove", people._PAGE, "page"),
    "invitations": (invitations, "people-list", r"inv\d+@example\.org</p>", people._PAGE, "invitations"),
    "projects": (my_projects, "projects-list", r'<h2 [^>]*><a [^>]*href="/p/', projects._PAGE, "page"),
    "guidelines": (guidelines, "settings-guidelines", r'href="[^"]*/guidelines/\d+"', project_settings._PAGE, "page"),
    "labels": (label_versions, "settings-labels", r'<li class="py-2">Version \d+', label_settings._PAGE, "page"),
    "models": (models, "training-show", "How it was made", training._PAGE, "page"),
    "exports": (made_exports, "exports-list", r'<h2 [^>]*id="release-', exports._PAGE, "page"),
    "connections": (all_connections, "connections-list", r'<h2 [^>]*><a [^>]*href="/connec', connections._PAGE, "page"),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_grows_comes_in_pages(name, signed_in):
    make, route, pattern, most, parameter = LISTS[name]
    olga = make_user("Olga", is_site_owner=True)
    project = make_project(by=olga)
    make(project, most + 3)
    client = signed_in(olga)
    address = reverse(route, args=[] if route in ("projects-list", "connections-list") else [project.slug])
    first = client.get(address).content.decode()
    assert len(re.findall(pattern, first)) in (most - 1, most)  # the owner is a member without a button to remove
    following = re.search(rf'rel="next" href="(\?{parameter}=2)"', first)
    assert following
    second = client.get(address + following[1]).content.decode()
    assert 3 <= len(re.findall(pattern, second)) <= 5
    assert 'rel="next"' not in second and 'rel="prev"' in second


def test_lending_leaves_projects_of_other_pages_alone(signed_in):
    sara = make_user("Sara", is_site_owner=True)
    connection, here, there = make_connection(sara), make_project(), make_project()
    connection.lent_to.set([here, there])
    form = {"projects": [], "shown": [here.public_id]}
    signed_in(sara).post(reverse("connections-lend", args=[connection.public_id]), form)
    assert list(connection.lent_to.all()) == [there]


@pytest.mark.parametrize("number", ["0", "99", "x", "-1", "9" * 30])
def test_a_page_that_is_not_there_is_another(number, signed_in):
    project = make_project()
    invitations(project, 2)
    client = signed_in(owner_of(project))
    for parameter in ("page", "invitations"):
        html = client.get(reverse("people-list", args=[project.slug]), {parameter: number}).content.decode()
        assert "inv0@" in html and owner_of(project).email in html
