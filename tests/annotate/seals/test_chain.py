"""What is hashed, by values that were put together by hand; and that no byte of a chain can be changed unseen."""

import hashlib
from datetime import UTC, datetime
from importlib import import_module

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.models import Event, Seal, SealedRows
from annotate.seals import chain, checking, sealing
from tests.factories import make_project
from tests.rows import make_finished_round

MOMENT = datetime(2026, 11, 30, 14, 2, tzinfo=UTC)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class TestHashes:
    def test_of_a_row_its_leaf_key_and_values(self):
        values = ["naïve", None, True, 0.5, {"b": 1, "a": [2]}, MOMENT, b"\x00\xff"]
        told = '["gold",7,"naïve",null,true,0.5,{"a":[2],"b":1},"2026-11-30T14:02:00.000000+00:00","00ff"]'
        assert chain.row_digest("gold", 7, values).hex() == sha256(told)

    def test_of_a_row_with_numbers_beyond_64_bits(self):
        assert chain.row_digest("gold", 7, [{"b": 1 << 70, "a": "é"}]).hex() == sha256(
            f'["gold",7,{{"a":"é","b":{1 << 70}}}]'
        )

    def test_of_batches_what_is_stored_of_each(self):
        keys, digests = b"\x01" + bytes(7), bytes(range(32))
        batches = [
            SealedRows(leaf="gold", keys=keys, digests=digests, states=b"x"),
            SealedRows(leaf="item", keys=keys, digests=b"", states=b"", is_gone=True),
        ]
        of_keys, empty = hashlib.sha256(keys).hexdigest(), sha256("")
        told = (
            f'["gold","{of_keys}","{hashlib.sha256(digests).hexdigest()}","{sha256("x")}",false]'
            f'["item","{of_keys}","{empty}","{empty}",true]'
        )
        assert chain.batches_digest(batches) == sha256(told)

    def test_of_a_seal_the_hash_before_it(self):
        seal = Seal(sequence=2, previous="a" * 64, digest="b" * 64, n_rows=3, is_vouched=True, created_at=MOMENT)
        told = f'["site",2,"{"a" * 64}","{"b" * 64}",3,true,"2026-11-30T14:02:00.000000+00:00"]'
        assert chain.seal_hash(seal, "site") == sha256(told)

    def test_the_first_seal_stands_on_zeros(self, db):
        project = make_project()
        seal = sealing.seal(project)
        assert (seal.sequence, seal.previous, seal.hash) == (1, "0" * 64, chain.seal_hash(seal, project.public_id))


@pytest.fixture
def unguarded(db):
    """The database without the triggers that hold the chain; the test's transaction takes them back."""
    migration = import_module("annotate.migrations.0030_seals_so_far")
    with connection.cursor() as cursor:
        for statement in migration.UNDO[connection.vendor]:
            cursor.execute(statement)


@pytest.fixture
def sealed(db):
    """A project with three seals; its chain is whole."""
    project = make_project()
    sealing.seal(project)
    make_finished_round(project)
    sealing.seal(project)
    Event.objects.create(project=project, kind="nothing.happened")
    assert sealing.seal(project).sequence == 3
    assert list(checking.chain_problems(project)) == []
    return project


SEAL = ("previous", "digest", "hash")
BATCH = ("keys", "digests", "states")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_byte_of_a_seal_or_batch_changes_unseen(sealed, unguarded, data):
    model, fields = data.draw(st.sampled_from([(Seal, SEAL), (SealedRows, BATCH)]))
    of_project = {"project": sealed} if model is Seal else {"seal__project": sealed}
    keys = list(model.objects.filter(**of_project).order_by("pk").values_list("pk", flat=True))
    row = model.objects.get(pk=data.draw(st.sampled_from(keys)))
    field = data.draw(st.sampled_from([name for name in fields if getattr(row, name)]))
    whole = getattr(row, field)
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 15))
    with transaction.atomic():
        if model is Seal:
            digit = f"{int(whole[place], 16) ^ other:x}"
            changed = whole[:place] + digit + whole[place + 1 :]
        else:
            changed = bytes(whole)[:place] + bytes([bytes(whole)[place] ^ other]) + bytes(whole)[place + 1 :]
        model.objects.filter(pk=row.pk).update(**{field: changed})
        assert list(checking.chain_problems(sealed))
        list(checking.row_problems(sealed))  # says what it finds, and never fails
        transaction.set_rollback(True)
    assert list(checking.chain_problems(sealed)) == []


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (Seal, {"n_rows": 99}),
        (Seal, {"is_vouched": False}),
        (Seal, {"created_at": MOMENT}),
        (Seal, {"sequence": 9}),
        (SealedRows, {"leaf": "draw"}),
        (SealedRows, {"is_gone": True}),
    ],
    ids=str,
)
def test_no_other_fact_of_them_changes_unseen(sealed, unguarded, model, changes):
    rows = model.objects.order_by("pk")
    model.objects.filter(pk=rows[0].pk).update(**changes)
    assert len(list(checking.chain_problems(sealed))) == 1


class TestChains:
    def test_a_seal_that_is_gone_is_missed(self, sealed, unguarded):
        SealedRows.objects.filter(seal__sequence=2)._raw_delete("default")
        Seal.objects.filter(sequence=2)._raw_delete("default")
        assert list(checking.chain_problems(sealed)) == [f"seal 2 of {sealed.slug} is gone"]

    def test_a_batch_that_is_gone_is_missed(self, sealed, unguarded):
        SealedRows.objects.filter(pk=SealedRows.objects.filter(seal__sequence=2).first().pk)._raw_delete("default")
        assert list(checking.chain_problems(sealed)) == [f"seal 2 of {sealed.slug} does not fit what it seals"]

    def test_a_chain_that_was_rewritten_is_whole_but_lacks_the_kept_head(self, sealed, unguarded):
        kept = chain.head_of(sealed).hash
        assert list(checking.chain_problems(sealed, kept)) == []
        SealedRows.objects.all()._raw_delete("default")
        Seal.objects.all()._raw_delete("default")
        sealing.seal(sealed)
        assert list(checking.chain_problems(sealed)) == []
        (problem,) = checking.chain_problems(sealed, kept)
        assert problem.startswith(f"the chain of {sealed.slug} has no seal {kept}")

    def test_an_earlier_head_that_was_kept_is_proven_by_the_seals_up_to_it(self, sealed):
        kept = chain.seals_of(sealed)[0].hash
        assert list(checking.chain_problems(sealed, kept)) == []

    def test_a_delivered_version_keeps_a_head_too(self, sealed, unguarded):
        version = sealed.delivered_versions.get()
        sealed.delivered_versions.update(sealed_head="c" * 64)
        (problem,) = checking.chain_problems(sealed)
        assert problem.endswith(f"has no seal {'c' * 64}, which was the head when {version} was frozen")

    def test_the_database_refuses_changes_and_deletions(self, sealed):
        for rows in (Seal.objects.all(), SealedRows.objects.all()):
            first = {"n_rows": 0} if rows.model is Seal else {"leaf": "none"}
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                rows.update(**first)
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                rows._raw_delete("default")
