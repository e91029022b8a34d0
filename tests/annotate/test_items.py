"""Items: found however many there are, withdrawn and brought back, corrected by a new one; never deleted."""

import pytest

from annotate import items, rounds
from annotate.errors import AccessDenied, Conflict, InvalidInput, NotFound
from annotate.imports import ingest
from annotate.items import lookup
from annotate.labeling import leases
from annotate.learning import delivery
from annotate.models import Event, Gold, Import, Item, Project, bulk
from tests.annotate.asking import problems
from tests.factories import make_member, make_project, owner_of, pair_rows_of, rows_of, write_jsonl

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(tmp_path):
    project = make_project()
    path = write_jsonl(tmp_path / "items.jsonl", rows_of(5))
    ingest.import_items(project=project, path=path, by=owner_of(project))
    return project


def withdraw(project, **ids) -> int:
    return items.withdraw(project=project, by=owner_of(project), **ids)


def in_pool(project) -> list[str | None]:
    rows = Item.objects.filter(project=project).in_pool().order_by("ordinal")
    return list(rows.values_list("external_id", flat=True))


def test_it_takes_items_out_of_the_pool_and_keeps_them(project):
    assert withdraw(project, external_ids=["item-1", "item-3"]) == 2
    assert in_pool(project) == ["item-0", "item-2", "item-4"]
    assert Item.objects.filter(project=project).count() == 5


def test_it_finds_items_by_either_id_once(project):
    item = Item.objects.get(project=project, external_id="item-1")
    assert withdraw(project, external_ids=["item-1", "item-1"], public_ids=[item.public_id]) == 1


def test_it_withdraws_all_or_none(project):
    with pytest.raises(NotFound, match="'gone', 'lost'.*nothing was"):
        withdraw(project, external_ids=["item-1", "gone", "lost"])
    assert len(in_pool(project)) == 5


def test_it_names_no_more_than_ten_missing_ids(project):
    with pytest.raises(NotFound, match="and 15 more"):
        withdraw(project, external_ids=[f"no-{i}" for i in range(25)])


def test_it_does_not_withdraw_twice(project):
    withdraw(project, external_ids=["item-1"])
    with pytest.raises(NotFound):
        withdraw(project, external_ids=["item-1"])


def test_it_does_not_see_another_projects_items(project):
    item = Item.objects.filter(project=project).first()
    with pytest.raises(NotFound):
        withdraw(make_project(), public_ids=[item.public_id])


def test_an_item_that_came_back_under_another_id_makes_another_version_of_what_is_delivered(project, tmp_path):
    """Nothing else tells: all counts, and the moment of the last withdrawal, are as they were."""
    olga = owner_of(project)
    before = delivery.current(project=project, by=olga).row
    withdraw(project, external_ids=["item-1"])
    path = write_jsonl(tmp_path / "again.jsonl", [{"id": "renamed", "text": "item number 1"}])
    ingest.import_items(project=project, path=path, by=olga)
    assert in_pool(project)[1] == "renamed"
    assert delivery.current(project=project, by=olga).row != before


@pytest.mark.parametrize("by_an_import", [False, True])
def test_each_withdrawal_and_each_import_is_a_revision_of_the_pool(project, tmp_path, by_an_import):
    def revision():
        return Project.objects.get(pk=project.pk).pool_revision

    assert (revision(), make_project().pool_revision) == (1, None)
    if by_an_import:
        path = write_jsonl(tmp_path / "more.jsonl", rows_of(1, "more"))
        ingest.import_items(project=project, path=path, by=owner_of(project))
    else:
        withdraw(project, external_ids=["item-1"])
    assert revision() == 2


def test_it_asks_for_an_id(project):
    with pytest.raises(InvalidInput, match="No item was named"):
        withdraw(project)


def test_it_belongs_to_those_who_manage(project):
    with pytest.raises(AccessDenied):
        items.withdraw(project=project, external_ids=["item-1"], by=make_member(project))


def test_it_records_which(project):
    item = Item.objects.get(project=project, external_id="item-2")
    withdraw(project, external_ids=["item-2"])
    event = Event.objects.get(kind="items.withdrawn")
    assert event.data == {"n_items": 1, "items": [item.public_id]}
    assert event.actor == owner_of(project)


def test_it_withdraws_more_than_one_chunk(project, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "IDS_PER_QUERY", 2)
    assert withdraw(project, external_ids=[row["id"] for row in rows_of(5)]) == 5


def item_of(project, external_id="item-1"):
    return Item.objects.filter(project=project, external_id=external_id).latest("pk")


def find(project, text="", **more):
    found = items.search(project=project, wanted=items.Search(text=text, **more))
    return [str(item) for item in found.exact], [str(item) for item in found.items]


class TestSearch:
    def test_it_finds_text_and_ids_in_any_case(self, project):
        assert find(project, "NUMBER 3") == ([], ["item-3"])
        assert find(project, "item-2") == (["item-2"], [])
        assert find(project, item_of(project).public_id) == (["item-1"], [])

    @pytest.mark.parametrize(
        ("text", "sought"),
        [
            ("Grüße aus KÖLN", "grüße aus köln"),
            ("grüße aus köln", "GRÜSSE AUS KÖLN"),
            ("STRASSE", "straße"),
            ("ПОЧЕМУ карта", "почему КАРТА"),
            ("ΔΡΌΜΟΣ ΜΟΥ", "δρόμος"),
            ("ÉTÉ", "été"),
            ("ﬁve", "FIVE"),
        ],
    )
    def test_the_case_of_no_letter_matters(self, project, tmp_path, text, sought):
        row = {"id": f"Ä-{text}", "text": f"one {text} more"}
        ingest.import_items(project=project, path=write_jsonl(tmp_path / "case.jsonl", [row]), by=owner_of(project))
        assert find(project, sought, by_external_id=False)[1] == [row["id"]]
        assert find(project, f"ä-{sought}")[1] == [row["id"]]

    @pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "num%3", "item_1"])
    def test_signs_of_patterns_are_letters_like_others(self, project, text):
        assert find(project, text) == ([], [])

    def test_states_and_imports_narrow(self, project, tmp_path):
        withdraw(project, external_ids=["item-1"])
        path = write_jsonl(tmp_path / "more.jsonl", rows_of(1, "more"))
        source = ingest.import_items(project=project, path=path, by=owner_of(project))
        assert find(project, state="withdrawn")[1] == ["item-1"]
        assert "item-1" not in find(project, state="pool")[1]
        assert find(project, source=source.pk)[1] == ["more-0"]

    def test_what_is_known_of_them_narrows(self, project):
        assert find(project, has=frozenset(items.HAS))[1] == []
        Gold.objects.create(
            project=project,
            item=item_of(project),
            label=project.schemas.get().labels.first(),
            rule="x",
            origin="random",
            is_blind=True,
        )
        assert find(project, has=frozenset({"gold"}))[1] == ["item-1"]

    def test_a_page_goes_on_where_the_last_ended(self, project):
        first = items.search(project=project, wanted=items.Search(), most=2)
        second = items.search(project=project, wanted=items.Search(), after=first.last, most=2)
        third = items.search(project=project, wanted=items.Search(), after=second.last, most=2)
        assert [len(page.items) for page in (first, second, third)] == [2, 2, 1]
        assert third.last is None

    def test_it_looks_at_a_bounded_number(self, project, monkeypatch):
        monkeypatch.setattr(lookup, "WINDOW", 2)
        found = items.search(project=project, wanted=items.Search(text="number 4"))
        assert (found.items, found.n_looked_at, found.last) == ([], 2, 1)
        again = items.search(project=project, wanted=items.Search(text="number 4"), after=3)
        assert (len(again.items), again.last) == (1, None)

    def test_items_of_an_import_under_way_are_hidden(self, project):
        project.imports.update(state="running")
        assert find(project) == ([], [])
        with pytest.raises(NotFound):
            items.find(project=project, public_id=item_of(project).public_id)


class TestBringBack:
    def bring_back(self, project, item, by=None):
        return items.bring_back(project=project, public_id=item.public_id, by=by or owner_of(project))

    def test_it_undoes_a_withdrawal(self, project):
        withdraw(project, external_ids=["item-1"])
        assert str(self.bring_back(project, item_of(project))) == "item-1"
        assert len(in_pool(project)) == 5
        assert Event.objects.filter(kind="item.brought_back").exists()
        assert problems(project) == {}

    def test_a_name_that_is_taken_stays_with_who_has_it(self, project, tmp_path):
        item = item_of(project)
        withdraw(project, external_ids=["item-1"])
        path = write_jsonl(tmp_path / "more.jsonl", [{"id": "item-1", "text": "another"}])
        ingest.import_items(project=project, path=path, by=owner_of(project))
        assert self.bring_back(project, item).external_id is None
        assert len(in_pool(project)) == 6

    def test_it_joins_the_samples_that_have_passed_it(self, project):
        item = item_of(project)
        withdraw(project, external_ids=["item-1"])
        rounds.draw_round(project=project, batch=4, by=owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        type(project).objects.filter(pk=project.pk).update(audit_cutoff=item.prn)
        self.bring_back(project, item)
        assert item.draws.filter(arm="audit").exists()

    def test_what_is_there_is_not_brought_back(self, project):
        with pytest.raises(Conflict, match="in the pool already"):
            self.bring_back(project, item_of(project))

    def test_not_beside_its_correction(self, project):
        old = item_of(project)
        correct(project, old)
        with pytest.raises(Conflict, match="replaced by item-1"):
            self.bring_back(project, old)

    def test_not_during_an_import(self, project):
        item = item_of(project)
        withdraw(project, external_ids=["item-1"])
        Import.objects.create(project=project, file_name="x", file_sha256="0")
        with pytest.raises(Conflict, match="under way"):
            self.bring_back(project, item)

    def test_it_belongs_to_those_who_manage(self, project):
        with pytest.raises(AccessDenied):
            self.bring_back(project, item_of(project), by=make_member(project, role="reviewer"))


def correct(project, item, text="put right", by=None):
    return items.correct(project=project, public_id=item.public_id, content={"text": text}, by=by or owner_of(project))


class TestCorrect:
    def test_a_new_item_takes_the_place(self, project):
        old = item_of(project)
        new = correct(project, old, "put\r\nright")
        old.refresh_from_db()
        assert old.withdrawn_at is not None
        assert (new.external_id, new.replaces, new.ordinal, new.withdrawn_at) == ("item-1", old, 5, None)
        assert new.content.payload == {"text": "put\nright"}
        assert (new.prn, new.content_hash) != (old.prn, old.content_hash)
        assert len(in_pool(project)) == 5
        assert project.next_ordinal == 6
        assert problems(project) == {}

    def test_a_field_that_items_do_not_have_is_refused(self, project):
        """It would be dropped without a word."""
        with pytest.raises(InvalidInput, match="no 'title'"):
            items.correct(
                project=project,
                public_id=item_of(project).public_id,
                content={"text": "right", "title": "lost"},
                by=owner_of(project),
            )
        assert len(in_pool(project)) == 5

    def test_its_question_ends_and_its_leases(self, project):
        rounds.draw_round(project=project, batch=5, by=owner_of(project))
        [lease] = leases.lease_next(project=project, annotator=make_member(project))
        correct(project, lease.entry.item)
        lease.refresh_from_db()
        assert (lease.outcome, lease.entry.state) == ("released", "unresolved")
        assert problems(project) == {}

    def test_behind_a_mark_it_joins_the_sample(self, project):
        rounds.draw_round(project=project, batch=4, by=owner_of(project))
        rounds.close_round(project=project, by=owner_of(project), force=True)
        type(project).objects.filter(pk=project.pk).update(audit_cutoff=1 - 1e-9, reference_cutoff=None)
        assert correct(project, item_of(project)).draws.filter(arm="audit").exists()

    def test_corrections_are_one_import(self, project):
        correct(project, item_of(project))
        correct(project, item_of(project, "item-2"), "another one")
        correct(project, item_of(project), "put right again")
        source = project.imports.get(file_name="corrections")
        assert (source.n_items, source.state) == (3, "complete")
        assert problems(project) == {}

    def test_an_import_comes_after_as_ever(self, project, tmp_path):
        correct(project, item_of(project))
        path = write_jsonl(tmp_path / "more.jsonl", [{"id": "item-1", "text": "taken"}, {"id": "new", "text": "new"}])
        source = ingest.import_items(project=project, path=path, by=owner_of(project))
        assert (source.n_items, source.n_rejected) == (1, 1)
        assert problems(project) == {}

    @pytest.mark.parametrize("text", ["", "   ", "a\x00b", "\ud800"])
    def test_content_that_cannot_be_used_changes_nothing(self, project, text):
        with pytest.raises(InvalidInput, match="The corrected item"):
            correct(project, item_of(project), text)
        assert len(in_pool(project)) == Item.objects.count() == 5

    def test_content_that_is_there_is_refused(self, project):
        with pytest.raises(Conflict, match="Nothing was changed"):
            correct(project, item_of(project), "item number 1")
        with pytest.raises(Conflict, match="item-2 has this very content already"):
            correct(project, item_of(project), "item number 2")
        withdraw(project, external_ids=["item-2"])
        with pytest.raises(Conflict, match="bring it back"):
            correct(project, item_of(project), "item number 2")
        assert "item-1" in in_pool(project)

    def test_what_is_withdrawn_or_replaced_is_refused(self, project):
        old = item_of(project)
        correct(project, old)
        with pytest.raises(Conflict, match="withdrawn"):
            correct(project, old, "other")

    def test_not_during_an_import(self, project):
        Import.objects.create(project=project, file_name="x", file_sha256="0")
        with pytest.raises(Conflict, match="under way"):
            correct(project, item_of(project))
        assert "item-1" in in_pool(project)

    def test_it_belongs_to_those_who_manage(self, project):
        with pytest.raises(AccessDenied):
            correct(project, item_of(project), by=make_member(project, role="reviewer"))

    def test_it_is_recorded_with_both(self, project):
        old = item_of(project)
        new = correct(project, old)
        data = Event.objects.get(kind="item.corrected").data
        assert (data["old"], data["new"]) == (old.public_id, new.public_id)

    def test_pairs_too(self, tmp_path):
        project = make_project(modality="pair")
        path = write_jsonl(tmp_path / "pairs.jsonl", pair_rows_of(2))
        ingest.import_items(project=project, path=path, by=owner_of(project))
        old = Item.objects.filter(project=project).first()
        new = items.correct(
            project=project, public_id=old.public_id, content={"text_a": "a", "text_b": "b"}, by=owner_of(project)
        )
        assert new.content.payload == {"text_a": "a", "text_b": "b"}


def test_what_a_withdrawal_touches_is_counted(project):
    rounds.draw_round(project=project, batch=5, by=owner_of(project))
    [lease] = leases.lease_next(project=project, annotator=make_member(project))
    assert items.withdrawal_impact(lease.entry.item) == items.WithdrawalImpact(
        n_answers=0, n_held=1, n_open=1, has_gold=False
    )
