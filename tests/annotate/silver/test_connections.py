"""LLM servers: who may register, lend and choose them, and that their keys are never read back."""

import json
import stat

import pytest
from django.core.management import call_command
from django.db import connection as database

from annotate.checks import check_encryption_keys
from annotate.errors import AccessDenied, Conflict, FileDamaged, InvalidInput, NotFound
from annotate.models import Connection, Event
from annotate.silver import connections, secrets
from tests.factories import LLM_KEY, make_connection, make_member, make_project, make_user, owner_of
from tests.rows import make_run
from tests.stub_llm import stub_llm

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("keys_in_a_temporary_folder")]


@pytest.fixture
def site_owner():
    return make_user("Sara", is_site_owner=True)


@pytest.fixture
def make(site_owner):
    def build(**changes):
        return make_connection(site_owner, **{"name": "Server", **changes})

    return build


class TestCreate:
    def test_it_keeps_the_key_encrypted(self, make):
        row = make()
        assert LLM_KEY.encode() not in bytes(row.key_encrypted)
        assert row.key_hint == "7ae2"
        assert connections.endpoint_of(row).key == LLM_KEY

    def test_only_site_owners_do(self):
        with pytest.raises(AccessDenied, match="belong to the site"):
            connections.create(name="x", base_url="https://x.example/v1", model="m", by=make_user())

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"base_url": "http://llm.example.org/v1"}, "must begin with https"),
            ({"base_url": "https://10.0.0.1/v1"}, "private address"),
            ({"base_url": "https://user:pw@llm.example.org/v1"}, "user name"),
            ({"model": " "}, "no name"),
            ({"key": "a\nb"}, "blanks"),
            ({"currency": "DOLLAR"}, "three letters"),
            ({"input_price_micros": -1}, "A price lies"),
            ({"max_concurrency": 65}, "Between 1 and 64"),
            ({"requests_per_minute": 0}, "At least one request"),
            ({"name": ""}, "name: "),
            ({"owner": "me"}, "no setting owner"),
        ],
    )
    def test_it_refuses_what_cannot_work(self, make, given, sentence):
        with pytest.raises(InvalidInput, match=sentence) as refused:
            make(**given)
        assert LLM_KEY not in str(refused.value)

    def test_names_are_there_once(self, make):
        make()
        with pytest.raises(InvalidInput, match="of this name already"):
            make(name="SERVER")
        make(name="Übung")
        with pytest.raises(InvalidInput, match="of this name already"):
            make(name="übung")
        assert connections.named("ÜBUNG").get().name == "Übung"

    def test_a_short_key_has_no_hint(self, make):
        assert make(key="abcdef").key_hint == ""


class TestChange:
    def test_the_key_stays(self, make, site_owner):
        row = connections.change(connection=make(), model="m-2", by=site_owner)
        assert connections.endpoint_of(row).key == LLM_KEY

    @pytest.mark.parametrize("url", ["https://llm.example.org/api/v1", "https://LLM.example.org:443/v1"])
    def test_it_stays_at_the_same_origin(self, make, site_owner, url):
        row = connections.change(connection=make(), base_url=url, by=site_owner)
        assert connections.endpoint_of(row).key == LLM_KEY

    @pytest.mark.parametrize("url", ["https://evil.example.org/v1", "https://llm.example.org:444/v1"])
    def test_it_is_dropped_at_another_origin(self, make, site_owner, url):
        row = connections.change(connection=make(), base_url=url, by=site_owner)
        assert (bytes(row.key_encrypted), row.key_hint, connections.endpoint_of(row).key) == (b"", "", "")

    def test_a_new_key_goes_with_the_new_origin(self, make, site_owner):
        row = connections.change(connection=make(), base_url="https://other.example/v1", key="k2", by=site_owner)
        assert connections.endpoint_of(row).key == "k2"

    def test_only_site_owners_do(self, make):
        with pytest.raises(AccessDenied):
            connections.change(connection=make(), allows_private=True, by=make_user())


def test_no_event_holds_a_key(make, site_owner):
    row = make()
    connections.change(connection=row, key="another-key-7766554433", by=site_owner)
    written = json.dumps(list(Event.objects.values_list("data", flat=True)))
    assert "canary" not in written and "7766" not in written and "llm.example.org" in written
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM annotate_connection")
        assert "canary" not in repr(cursor.fetchall())
    assert LLM_KEY not in repr(connections.endpoint_of(row))


class TestChoose:
    @pytest.fixture
    def project(self):
        return make_project()

    def test_admins_choose_what_is_lent(self, make, site_owner, project):
        row = make()
        with pytest.raises(NotFound):
            connections.choose(project=project, connection=row, by=owner_of(project))
        connections.lend(connection=row, project=project, by=site_owner)
        connections.choose(project=project, connection=row, by=owner_of(project))
        project.refresh_from_db()
        assert (project.connection, project.annotator) == (row, "openai")
        assert connections.of_project(project) == row
        connections.choose(project=project, connection=None, annotator="offline", by=owner_of(project))
        assert (project.connection, project.annotator) == (None, "offline")

    def test_others_do_not(self, make, site_owner, project):
        row = make()
        connections.lend(connection=row, project=project, by=site_owner)
        with pytest.raises(AccessDenied):
            connections.choose(project=project, connection=row, by=make_member(project))

    def test_it_is_one_currency(self, make, site_owner, project):
        with pytest.raises(Conflict, match="paid in EUR and this project counts in USD"):
            connections.lend(connection=make(currency="EUR"), project=project, by=site_owner)

    def test_not_while_it_is_asked(self, make, site_owner, project):
        row = make()
        connections.lend(connection=row, project=project, by=site_owner)
        make_run(project, kind="prelabel", state="running")
        with pytest.raises(Conflict, match="under way"):
            connections.choose(project=project, connection=row, by=owner_of(project))

    def test_a_connection_goes_with_its_annotator(self, make, project):
        with pytest.raises(InvalidInput, match="Choose a connection"):
            connections.choose(project=project, connection=None, annotator="openai", by=owner_of(project))

    def test_it_is_refused_once_switched_off_or_taken_back(self, make, site_owner, project):
        row = make()
        connections.lend(connection=row, project=project, by=site_owner)
        connections.choose(project=project, connection=row, by=owner_of(project))
        connections.set_active(connection=row, is_active=False, by=site_owner)
        with pytest.raises(Conflict, match="switched off"):
            connections.of_project(project)
        connections.set_active(connection=row, is_active=True, by=site_owner)
        connections.take_back(connection=row, project=project, by=site_owner)
        with pytest.raises(Conflict, match="not lent"):
            connections.of_project(project)

    def test_what_has_no_price_is_not_asked(self, make):
        with pytest.raises(Conflict, match="no price"):
            connections.endpoint_of(make(input_price_micros=None))


class TestTest:
    def test_it_asks_the_server(self, make, site_owner):
        with stub_llm(key=LLM_KEY) as stub:
            row = make(base_url=stub.base_url, allows_private=True)
            found = connections.test(connection=row, by=site_owner)
        assert found.is_usable and found.n_alternatives == 20
        assert Event.objects.get(kind="connection.tested").data["is_usable"] is True

    def test_only_site_owners_do(self, make):
        with pytest.raises(AccessDenied):
            connections.test(connection=make(), by=make_user())


class TestEncryption:
    def test_the_key_file_is_its_owners(self, tmp_path):
        assert secrets.decrypt(secrets.encrypt("secret")) == "secret"
        assert stat.S_IMODE((tmp_path / "encryption_key").stat().st_mode) == 0o600

    def test_keys_are_rotated(self, make, settings):
        old, new = secrets.new_key(), secrets.new_key()
        settings.FIELD_ENCRYPTION_KEYS = [old]
        row = make()
        settings.FIELD_ENCRYPTION_KEYS = [new, old]
        call_command("rotate_keys")
        settings.FIELD_ENCRYPTION_KEYS = [new]
        row.refresh_from_db()
        assert connections.endpoint_of(row).key == LLM_KEY

    def test_a_lost_key_is_told(self, make, settings):
        row = make()
        settings.FIELD_ENCRYPTION_KEYS = [secrets.new_key()]
        with pytest.raises(FileDamaged, match="cannot be decrypted"):
            connections.endpoint_of(row)
        assert Connection.objects.count() == 1

    def test_a_wrong_setting_is_found_by_check(self, settings):
        settings.FIELD_ENCRYPTION_KEYS = ["short"]
        assert check_encryption_keys()[0].id == "goldloop.E006"
        with pytest.raises(InvalidInput, match="holds something that is no key"):
            secrets.encrypt("x")


def test_a_model_that_takes_its_limit_by_another_name_and_no_temperature_is_asked_so():
    made = connections.create(
        name="Newer", base_url="https://llm.example.org/v1", model="m", limit_name="max_completion_tokens",
        sends_temperature=False, input_price_micros=1, output_price_micros=1, by=make_user("Sara", is_site_owner=True),
    )  # fmt: skip
    endpoint = connections.endpoint_of(made)
    assert (endpoint.limit_name, endpoint.temperature) == ("max_completion_tokens", None)


def test_a_test_lowers_how_many_alternatives_are_asked_for_and_never_raises_it():
    sara = make_user("Sara", is_site_owner=True)
    with stub_llm(max_alternatives=5) as server:
        made = connections.create(
            name="Few", base_url=server.base_url, model="m", allows_private=True, input_price_micros=1,
            output_price_micros=1, by=sara,
        )  # fmt: skip
        connections.test(connection=made, by=sara)
        assert Connection.objects.get(pk=made.pk).n_alternatives == 5
        Connection.objects.update(n_alternatives=3)
        made.refresh_from_db()
        connections.test(connection=made, by=sara)
    assert Connection.objects.get(pk=made.pk).n_alternatives == 3
