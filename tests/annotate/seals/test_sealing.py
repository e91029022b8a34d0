"""What seals hold, what they leave out, and several sealers at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from annotate import project_settings, projects
from annotate.accounts import addresses
from annotate.dataset import manifest
from annotate.dataset.provenance import Counts
from annotate.imports import ingest
from annotate.items import correction, withdrawal
from annotate.learning import delivery
from annotate.management.sealer import Sealer
from annotate.models import Gold, Item, Member, Project, Seal, SealedRows, bulk
from annotate.models.event import Event, record
from annotate.models.project import Arm, Role
from annotate.money import budgets
from annotate.seals import chain, checking, head, sealing
from annotate.silver import connections as llm_servers
from tests.annotate.asking import answer, change, label, question
from tests.annotate.imports.taking_in import Stop, stop_after
from tests.factories import make_connection, make_member, make_project, make_user, owner_of, rows_of, write_jsonl
from tests.rows import make_items, make_round


def problems(project):
    return [*checking.chain_problems(project), *checking.row_problems(project)]


def leaves_in(seal):
    return set(SealedRows.objects.filter(seal=seal).values_list("leaf", flat=True))


def set_role(project, user, role):
    return projects.add_member(project=project, user=user, role=role, is_trusted=True, by=owner_of(project))


@pytest.mark.django_db
class TestSeal:
    def test_it_holds_all_that_a_project_is_made_of(self):
        project = make_project()
        seal = sealing.seal(project)
        made = {"event", "project", "member", "labels", "label", "budget"}
        assert (leaves_in(seal), seal.is_vouched) == (made, True)
        assert seal.n_rows == head.n_since(project, None)
        assert sealing.seal(project) is None
        assert (checking.n_unsealed(project), problems(project)) == (0, [])

    def test_rows_newer_than_the_head_wait(self):
        project = make_project()
        sealing.seal(project)
        make_items(project, 3)
        assert head.standing(project).n_since == 3 + 3 + 1  # items, their metadata, their import
        assert (checking.n_unsealed(project), problems(project)) == (7, [])

    def test_a_change_that_an_event_explains_is_sealed_with_it(self):
        project = make_project()
        ann = make_member(project, "Ann")
        sealing.seal(project)
        set_role(project, ann, Role.REVIEWER)
        assert leaves_in(sealing.seal(project)) == {"member", "event"}
        assert problems(project) == []

    def test_each_field_of_a_row_has_its_own_event(self):
        project = make_project()
        sealing.seal(project)
        budgets.set_cap(project=project, kind="machine", cap_micros=9, by=owner_of(project))
        budgets.stop(project=project, kind="machine", by=owner_of(project))
        assert leaves_in(sealing.seal(project)) == {"budget", "event"}
        assert problems(project) == []

    def test_fields_of_a_row_that_changed_by_several_events_are_sealed(self):
        project = make_project()
        sealing.seal(project)
        by = owner_of(project)
        project_settings.change(project=project, by=by, name="Letters of spring")
        project_settings.change(project=project, by=by, audit_target=700)
        lent = make_connection(make_user("Root", is_site_owner=True))
        llm_servers.lend(connection=lent, project=project, by=lent.created_by)
        llm_servers.choose(project=project, connection=lent, by=by)
        assert sealing.seal_all(project).refused == []
        assert problems(project) == []

    def test_the_first_event_of_a_chain_explains_what_it_came_with(self):
        ann = make_user("Ann")
        sealing.seal(None)
        addresses.vouch(user=ann, by=None)
        assert problems(None) == []
        assert sealing.seal_all(None).refused == []
        assert problems(None) == []

    def test_a_change_by_hand_is_left_out_and_found_again(self):
        project = make_project()
        ann = make_member(project, "Ann")
        sealing.seal(project)
        Member.objects.filter(project=project, user=ann).update(is_trusted=False)
        for _ in range(2):
            (sentence,) = sealing.seal_all(project).refused
            assert "changed is_trusted from True to False, and nothing says who did it" in sentence
            (problem,) = problems(project)
            assert problem.startswith(sentence + " since seal 1 of ")

    def test_an_event_that_is_sealed_explains_nothing_that_follows(self):
        project = make_project()
        ann = make_member(project, "Ann")
        set_role(project, ann, Role.REVIEWER)
        sealing.seal(project)
        Member.objects.filter(project=project, user=ann).update(role=Role.ADMIN)
        assert len(problems(project)) == 1

    def test_another_state_of_a_row_sealed_twice_is_compared_with_the_last(self):
        project = make_project()
        ann = make_member(project, "Ann")
        for role in (Role.REVIEWER, Role.ANNOTATOR, Role.REVIEWER):
            sealing.seal(project)
            set_role(project, ann, role)
        sealing.seal(project)
        assert problems(project) == []
        Member.objects.filter(project=project, user=ann).update(role=Role.ANNOTATOR)
        assert "changed role from 'reviewer' to 'annotator'" in problems(project)[0]

    def test_a_row_that_was_deleted_by_hand_is_missed(self):
        project = make_project()
        item = make_items(project, 1)[0]
        Gold.objects.create(
            project=project, item=item, label=label(project), rule="imported", origin=Arm.IMPORTED, is_blind=False
        )
        sealing.seal(project)
        Gold.objects.filter(project=project)._raw_delete("default")
        assert [problem.split(" since ")[0] for problem in problems(project)] == [
            f"gold (row {chain.head_of(project).reached['gold']}) is gone"
        ]

    def test_an_older_project_is_vouched_for_from_its_second_pass_on(self, monkeypatch):
        monkeypatch.setattr(sealing, "ROWS_PER_SEAL", 4)
        project = make_project()
        make_items(project, 3)
        Project.objects.filter(pk=project.pk).update(is_sealed_from_start=False)
        project.refresh_from_db()
        first = sealing.seal_all(project).seals
        assert len(first) > 1
        assert {seal.is_vouched for seal in first} == {False}
        record("nothing.happened", project=project, by=None)
        assert sealing.seal(project).is_vouched
        assert not head.standing(project).is_first_vouched


@pytest.mark.django_db
class TestParts:
    @pytest.fixture
    def withdrawn(self, monkeypatch):
        """Two items were withdrawn, and more was added than one seal may hold."""
        monkeypatch.setattr(sealing, "ROWS_PER_SEAL", 4)
        project = make_project()
        items = make_items(project, 5)
        sealing.seal(project)
        withdrawal.withdraw(project=project, by=owner_of(project), public_ids=[item.public_id for item in items[:2]])
        for name in "abcdefgh":
            make_member(project, name)
        return project

    def test_events_and_what_they_explain_come_last(self, withdrawn):
        *others, last = sealing.seal_all(withdrawn).seals
        assert others
        assert not {"event", "item"} & set().union(*map(leaves_in, others))
        assert {"event", "item"} <= leaves_in(last)
        assert problems(withdrawn) == []

    def test_a_sealer_that_ends_between_two_seals_leaves_nothing_unexplained(self, withdrawn):
        turns = iter([True, False])
        assert len(sealing.seal_all(withdrawn, lambda: next(turns)).seals) == 1
        assert problems(withdrawn) == []
        sealing.seal(withdrawn)
        assert (checking.n_unsealed(withdrawn), problems(withdrawn)) == (0, [])


@pytest.mark.django_db
class TestRecent:
    def test_it_takes_new_rows_without_reading_the_chain(self, django_assert_max_num_queries):
        project = make_project()
        make_round(project, make_items(project, 2))
        sealing.seal(project)
        answer(question(project), owner_of(project))
        with django_assert_max_num_queries(60) as queries:
            seal = sealing.seal_recent(project)
        assert {"answer", "gold", "lease"} <= leaves_in(seal)
        assert not any("annotate_sealedrows" in query["sql"] and query["sql"].startswith("SELECT") for query in queries)
        assert problems(project) == []

    def test_what_needs_no_event_waits_for_the_next_full_pass(self):
        project = make_project()
        make_round(project, make_items(project, 1))
        entry = question(project)
        answer(entry, owner_of(project))
        sealing.seal(project)
        change(entry, owner_of(project), "no")
        sealing.seal_recent(project)
        assert (checking.n_unsealed(project), problems(project)) == (2, [])  # the former answer and its gold
        sealing.seal(project)
        assert checking.n_unsealed(project) == 0

    def test_an_event_is_never_sealed_without_what_it_explains(self):
        project = make_project()
        ann = make_member(project, "Ann")
        items = make_items(project, 2)
        sealing.seal(project)
        set_role(project, ann, Role.REVIEWER)
        correction.correct(
            project=project, public_id=items[0].public_id, content={"text": "mended"}, by=owner_of(project)
        )
        sealing.seal_recent(project)
        assert (checking.n_unsealed(project), problems(project)) == (0, [])


@pytest.mark.django_db
class TestImports:
    @pytest.fixture
    def interrupted(self, tmp_path, monkeypatch):
        """An import with gold and silver that stopped after its first chunk."""
        project = make_project()
        monkeypatch.setattr(ingest, "CHUNK_ROWS", 2)
        path = write_jsonl(tmp_path / "a.jsonl", rows_of(4, gold="yes", silver="no"))
        given = {"gold_field": "gold", "silver_field": "silver"}

        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stop):
                ingest.import_items(project=project, path=path, by=owner_of(project), **given)
        assert Item.objects.filter(project=project).exists()
        return lambda: ingest.import_items(project=project, path=path, by=owner_of(project), **given), project

    def test_rows_of_an_import_under_way_wait_and_may_go(self, interrupted):
        _resume, project = interrupted
        assert not {"item", "gold", "draw", "prediction"} & leaves_in(sealing.seal(project))
        ingest.abandon_import(project=project, by=owner_of(project))
        sealing.seal(project)
        assert (checking.n_unsealed(project), problems(project)) == (0, [])

    @pytest.mark.parametrize("seal", [sealing.seal, sealing.seal_recent])
    def test_they_are_sealed_when_it_is_complete(self, interrupted, seal):
        resume, project = interrupted
        sealing.seal(project)
        resume()
        assert {"item", "gold", "draw", "prediction"} <= leaves_in(seal(project))
        assert (checking.n_unsealed(project), problems(project)) == (0, [])


def at_once(n, work):
    """What each of n threads returns that begin together, with a connection of its own."""
    together = Barrier(n)

    def one(_):
        together.wait()
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("events_can_be_flushed")
class TestAtOnce:
    def test_five_sealers_make_one_chain_that_holds_each_row_once(self, monkeypatch):
        monkeypatch.setattr(sealing, "ROWS_PER_SEAL", 4)
        project = make_project()
        make_items(project, 9)
        made = [seal for seals in at_once(5, lambda: sealing.seal_all(project).seals) for seal in seals]
        assert sorted(seal.sequence for seal in made) == list(
            range(1, Seal.objects.filter(project=project).count() + 1)
        )
        assert sum(seal.n_rows for seal in made) == head.n_since(project, None)
        assert (checking.n_unsealed(project), problems(project)) == (0, [])

    @pytest.mark.only_on("postgresql")
    def test_a_row_with_a_lower_key_that_is_committed_later_is_sealed_by_the_next(self):
        project = make_project()
        slow = connection.copy()
        try:
            slow.set_autocommit(False)
            with slow.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO annotate_event (project_id, kind, data, at) VALUES (%s, 'slow', '{}', now())"
                    " RETURNING id",
                    [project.pk],
                )
                (key,) = cursor.fetchone()
            later = record("quick", project=project, by=None)
            assert later.pk > key
            sealing.seal(project)
            assert chain.head_of(project).reached["event"] == later.pk
            slow.commit()
        finally:
            slow.close()
        assert Event.objects.filter(pk=key).exists()
        assert sealing.seal_recent(project) is None
        assert checking.n_unsealed(project) == 1
        assert sealing.seal(project).n_rows == 1
        assert problems(project) == []

    def test_the_worker_s_sealer_seals_from_its_start_and_ends_when_asked(self):
        project = make_project()
        sealer = Sealer(pytest.fail)
        sealer.start()
        while chain.head_of(project) is None or chain.head_of(None) is None:
            connection.close()
        sealer.stop()
        assert not sealer._thread.is_alive()
        assert problems(project) == []


@pytest.mark.django_db
class TestFreeze:
    def test_a_frozen_version_and_its_manifest_carry_the_head_of_that_moment(self):
        project = make_project()
        make_items(project, 3)
        frozen = delivery.current(project=project, by=owner_of(project)).row
        seal = chain.head_of(project)
        assert {"item", "event"} <= leaves_in(seal)
        assert (frozen.sealed_head, frozen.sealed_sequence) == (seal.hash, 1)
        sealing.seal(project)
        assert chain.head_of(project).sequence == 2  # holds the version itself
        assert manifest.build(frozen, Counts(), [])["sealed"] == {"seal": 1, "head": seal.hash}
        assert problems(project) == []


@pytest.mark.django_db
class TestRounds:
    def test_only_chains_that_grew_are_sealed(self):
        one, other = make_project(), make_project()
        sealer = Sealer(pytest.fail)
        sealer.round()
        heads = {project: chain.head_of(project) for project in (one, other, None)}
        assert all(heads.values())
        make_items(one, 1)
        sealer.round()
        assert {project: chain.head_of(project) == was for project, was in heads.items()} == {
            one: False,
            other: True,
            None: True,
        }

    def test_it_leaves_the_processor_to_others_between_rows(self, monkeypatch):
        project = make_project()
        make_items(project, 5)
        monkeypatch.setattr(bulk, "IDS_PER_QUERY", 2)
        sealer, waits = Sealer(pytest.fail), []
        monkeypatch.setattr(sealer._asked, "wait", waits.append)
        sealer.round()
        assert len(waits) > 2 * (5 // 2 + 1)  # items and their contents, and all else that a project begins with
        assert all(seconds > 0 for seconds in waits)
        assert problems(project) == []

    def test_what_is_refused_is_told(self):
        project, told = make_project(), []
        sealing.seal(project)
        project.budgets.filter(kind="human").update(cap_micros=7)
        Sealer(told.append).round()
        assert len(told) == 1
        assert told[0].startswith(f"sealer: {project}: budget ")


@pytest.mark.django_db
class TestCommand:
    def test_it_prints_the_head_of_each_chain(self, capsys):
        project = make_project()
        call_command("seal")
        said = capsys.readouterr().out
        seal, site = chain.head_of(project), chain.head_of(None)
        assert f"{project.slug}: seal 1 of " in said
        assert f" UTC, {seal.n_rows} rows newly sealed\n  {seal.hash}\n" in said
        assert "site: seal 1 of " in said
        assert site.hash in said
        call_command("seal", project.slug)
        assert "0 rows newly sealed" in capsys.readouterr().out

    def test_it_ends_with_an_error_where_nothing_explains_a_change(self, capsys):
        project = make_project()
        sealing.seal(project)
        project.budgets.filter(kind="human").update(cap_micros=7)
        with pytest.raises(CommandError, match="not sealed"):
            call_command("seal", project.slug)
        assert "not sealed: budget " in capsys.readouterr().out.lower()

    def test_a_project_that_is_not_there_is_said(self):
        with pytest.raises(CommandError, match="There is no project 'nowhere'"):
            call_command("seal", "nowhere")
