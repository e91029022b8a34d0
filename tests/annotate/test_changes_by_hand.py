"""What somebody changes in the database by hand, `verify` notices and locates: on a settled and a mid-round project."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from annotate import verification
from annotate.models import Connection, Project, SealedRows, User
from annotate.models.event import record
from annotate.projects import add_member
from annotate.seals import chain, sealing
from tests.annotate import changed_by_hand as by_hand
from tests.annotate.changed_by_hand import CHANGES
from tests.factories import owner_of

pytestmark = pytest.mark.django_db

FEW = {
    "answer and gold flipped together", "event deleted", "draw inserted", "member inserted", "metadata",
    "estimate: low = 0.5", "ledgerentry deleted", "account made site owner",
}  # fmt: skip
# A fixed field, a state, a row that is gone, a row that was inserted, an event: what a sealer must not take over.
HOSTILE = FEW | {"gold deleted", "project: overlap = 3", "event: data = '{}'", "kill switch"}


def cases():
    """Each change on one project in every run; on PostgreSQL a few, and the rest, like the other project, slowly."""
    for place, change in enumerate(CHANGES):
        projects = [on for on in ("settled", "mid") if change.on in (on, "both")]
        for on in projects:
            is_often = on == projects[place % len(projects)]
            is_slow = change.name not in FEW if connection.vendor == "postgresql" else not is_often
            yield pytest.param(on, change, id=f"{on}: {change.name}", marks=[pytest.mark.slow] if is_slow else [])


@pytest.fixture(scope="module")
def sealed(rows_for_all, tmp_path_factory):
    """Both projects, their chains and the site's, and the facts about each."""
    folder = tmp_path_factory.mktemp("by-hand")
    server = by_hand.site()
    projects = {"settled": by_hand.settled(folder), "mid": by_hand.mid_round(folder)}
    facts = {on: by_hand.facts(project, server) for on, project in projects.items()}
    sealing.seal(None)
    return projects, facts


@pytest.fixture
def undone():
    """What the test does never happened: constraints are not even looked at in the end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def change_it(sealed, on, change):
    """Make the change; returns the project and the words that must name what was hit."""
    projects, facts = sealed
    by_hand.make(facts[on], *change.statements)
    return projects[on], change.where.format(**facts[on])


def problems(project):
    """What the checks of `verify` find, one after the other, as far as it is asked for."""
    for check in verification.CHECKS.values():
        for finding in check(Project.objects.get(pk=project.pk)):
            if isinstance(finding, str):
                yield finding


def is_located(project, where):
    return any(where in problem for problem in problems(project))


def say(project, *options):
    out = StringIO()
    call_command("verify", project.slug, *options, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("on", ["settled", "mid"])
def test_untouched_projects_have_no_problem(sealed, on):
    assert list(problems(sealed[0][on])) == []


@pytest.mark.parametrize(("on", "change"), list(cases()))
def test_each_change_is_noticed_and_located(sealed, undone, on, change):
    project, where = change_it(sealed, on, change)
    assert is_located(project, where)


@pytest.mark.parametrize("change", [change for change in CHANGES if change.name in HOSTILE], ids=lambda one: one.name)
def test_a_seal_made_afterwards_launders_nothing(sealed, undone, change):
    on = "settled" if change.on == "both" else change.on
    project, where = change_it(sealed, on, change)
    for of in (project, None):
        sealing.seal_all(of)
    assert is_located(project, where)


class TestExplanations:
    """An event explains what it says: its fields, with its values, of the row that it is about, and nothing beside."""

    @pytest.mark.parametrize(
        ("kind", "data", "by", "statement", "where"),
        [
            ("address.proven", {"how": "link"}, "stranger", "annotate_user SET is_site_owner = true", "account smug"),
            ("account.vouched", {"user": "stranger"}, None, "annotate_user SET email = 'x@x.org'", "account x@x.org"),
            (
                "account.vouched",
                {"user": "other"},
                "stranger",
                "annotate_user SET vouched_at = %(now)s",
                "account smug",
            ),
        ],
        ids=["another field", "another field of a vouched account", "another account"],
    )
    def test_an_account_is_more_than_its_event(self, sealed, undone, kind, data, by, statement, where):
        facts = sealed[1]["mid"]
        stranger = User.objects.get(pk=facts["stranger"])
        named = {key: stranger.public_id if value == "stranger" else value for key, value in data.items()}
        record(kind, project=None, by=stranger if by else None, **named)
        by_hand.make(facts, f"UPDATE {statement} WHERE id = %(stranger)s")  # noqa: S608
        assert is_located(sealed[0]["mid"], where)

    def test_a_role_is_the_one_that_was_given(self, sealed, undone):
        project, facts = sealed[0]["mid"], sealed[1]["mid"]
        member = project.members.get(pk=facts["member"])
        add_member(project=project, user=member.user, role="viewer", is_trusted=False, by=owner_of(project))
        assert not is_located(project, "member ")
        by_hand.make(facts, "UPDATE annotate_member SET role = 'admin' WHERE id = %(member)s")
        assert is_located(project, "member {person}".format(**facts))

    def test_a_test_of_a_server_changes_no_address(self, sealed, undone):
        project, facts = sealed[0]["mid"], sealed[1]["mid"]
        server = Connection.objects.get(pk=facts["server"])
        record("connection.tested", project=None, by=None, connection=server.public_id)
        by_hand.make(facts, "UPDATE annotate_connection SET base_url = 'https://x.org' WHERE id = %(server)s")
        assert is_located(project, "connection {server_name}".format(**facts))

    def test_a_withdrawal_changes_no_name(self, sealed, undone):
        project, facts = sealed[0]["mid"], sealed[1]["mid"]
        record("items.withdrawn", project=project, by=None, items=[facts["undrawn_item"]], n_items=1)
        by_hand.make(facts, "UPDATE annotate_item SET external_id = 'swapped' WHERE id = %(undrawn)s")
        assert is_located(project, "item {undrawn_item}".format(**facts))


class TestHeads:
    """Against a kept head even a complete rewrite shows."""

    def rewrite(self, sealed):
        """Delete an event, and make the whole chain anew, as if it had never been there."""
        project, facts = sealed[0]["mid"], sealed[1]["mid"]
        of_project = "(SELECT id FROM annotate_seal WHERE project_id = %(project)s)"
        by_hand.make(
            facts,
            "DELETE FROM annotate_event WHERE kind = 'budget.capped'",
            "UPDATE annotate_deliveredversion SET sealed_head = '' WHERE project_id = %(project)s",
            f"DELETE FROM annotate_sealedrows WHERE seal_id IN {of_project}",  # noqa: S608
            "DELETE FROM annotate_seal WHERE project_id = %(project)s",
        )
        sealing.seal(project)
        return project

    def test_a_kept_head_stands_in_the_chain(self, sealed):
        project = sealed[0]["mid"]
        said = say(project, "--head", chain.head_of(project).hash, "--head", chain.head_of(None).hash)
        assert said.count("ok  a kept head stands in the chain: seal ") == 2

    def test_a_rewritten_chain_does_not_hold_it(self, sealed, undone):
        head = chain.head_of(sealed[0]["mid"]).hash
        project = self.rewrite(sealed)
        with pytest.raises(CommandError, match=f"no seal has the hash {head}"):
            say(project, "--head", head)

    def test_without_a_kept_head_it_cannot_be_proven_and_is_said(self, sealed, undone):
        said = say(self.rewrite(sealed))
        assert "not checked  a kept head stands in the chain: a rewrite of the whole chain" in said

    def test_a_manifest_brings_its_head(self, sealed, undone):
        settled = sealed[0]["settled"]
        export = settled.exports.get()
        path = f"{export.folder}/{export.manifest}"
        assert "ok  a kept head stands in the chain: seal 2 of" in say(settled, "--export", path)


class TestWhatIsSaid:
    """The command says ok only of what it looked at."""

    def test_what_was_not_checked_is_counted(self, sealed):
        said = say(sealed[0]["mid"])
        reasons = re.findall(r"  not checked  (.*?): (.*)", said)
        assert ("audit gold never trains", "no model is trained yet") in reasons
        assert ("figures follow from the audit sample", "no figure is stored yet") in reasons
        assert f"everything that was checked holds; {len(reasons)} not checked." in said
        assert not [name for name, _ in reasons if f"  ok  {name}" in said]

    def test_rows_newer_than_the_last_seal_are_not_yet_sealed(self, sealed, undone):
        project = sealed[0]["mid"]
        project.events.create(kind="noted", data={})
        assert "not yet sealed: 1 (run `manage.py seal`)" in say(project)

    def test_without_seals_nothing_is_ok_about_them(self, sealed, undone):
        project = sealed[0]["mid"]
        by_hand.make({}, "DELETE FROM annotate_sealedrows", "DELETE FROM annotate_seal")
        assert not SealedRows.objects.exists()
        said = say(project)
        assert said.count("nothing is sealed yet (run `manage.py seal`)") == 4
        assert "ok  the chain of seals" not in said

    def test_all_that_is_wrong_is_said(self, sealed, undone):
        project, facts = sealed[0]["mid"], sealed[1]["mid"]
        changed = [one for one in CHANGES if one.name in ("event deleted", "metadata")]
        by_hand.make(facts, *(statement for one in changed for statement in one.statements))
        out = StringIO()
        with pytest.raises(CommandError, match="2 problems in all"):
            call_command("verify", project.slug, stdout=out)
        assert out.getvalue().count("  WRONG  sealed rows are as they were sealed") == 2
