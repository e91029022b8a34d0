"""LLM connections of the site: for its owners alone, and their keys in nothing that is answered."""

import pytest
from django.urls import reverse

from annotate.models import Connection, Event
from annotate.silver import connections
from tests.factories import LLM_KEY, make_connection, make_project, make_user
from tests.rows import make_run
from tests.stub_llm import stub_llm
from tests.web.site import make_place
from tests.web.test_translation import known_strings, pseudo_locale, untranslated

__all__ = ["pseudo_locale"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("keys_in_a_temporary_folder")]
GIVEN = {
    "name": "Server", "base_url": "https://llm.example.org/v1", "key": LLM_KEY, "model": "m-1", "currency": "USD",
    "input_price": "0.15", "output_price": "0.6", "max_concurrency": "8", "requests_per_minute": "",
    "timeout_seconds": "60", "limit_name": "max_tokens", "sends_temperature": "on",
}  # fmt: skip
NAMED = ("show", "test", "lend", "switch")


@pytest.fixture
def sara():
    return make_user("Sara", is_site_owner=True)


@pytest.fixture
def client(signed_in, sara):
    return signed_in(sara)


@pytest.fixture
def make(sara):
    def build(**changes):
        return make_connection(sara, **{"name": "Server", **changes})

    return build


def address(what, connection=None):
    return reverse(f"connections-{what}", args=[connection.public_id] if connection else [])


def page(client, connection, **options):
    return client.get(address("show", connection), **options)


class TestWhoMay:
    def test_owners_of_a_project_do_not(self, signed_in, make):
        made, olga = make(), make_place().people["owner"]
        client = signed_in(olga)
        urls = [address("list"), address("create"), *(address(name, made) for name in NAMED)]
        for url in urls:
            assert {client.get(url).status_code, client.post(url, GIVEN).status_code} <= {403, 405}, url
        assert Connection.objects.get(pk=made.pk).is_active

    def test_the_menu_shows_them_to_owners_of_the_site_alone(self, client, signed_in):
        assert address("list") in client.get("/").content.decode()
        assert address("list") not in signed_in(make_user()).get("/").content.decode()

    @pytest.mark.parametrize("name", NAMED)
    def test_forged_ids_are_not_found(self, client, name):
        for forged in ("0" * 20, "x", "'; --", make_project().public_id):
            assert client.post(reverse(f"connections-{name}", args=[forged]), GIVEN).status_code == 404

    def test_a_double_get_changes_nothing(self, client, make):
        made = make()
        assert {client.get(address(name, made)).status_code for name in ("test", "lend", "switch")} == {405}


class TestRegister:
    def test_it_is_kept_with_its_prices(self, client):
        response = client.post(address("create"), GIVEN)
        made = Connection.objects.get()
        assert (response.status_code, response.url) == (303, address("show", made))
        assert (made.input_price_micros, made.output_price_micros, made.requests_per_minute) == (150_000, 600_000, None)
        assert connections.endpoint_of(made).key == LLM_KEY

    def test_without_a_price_it_is_said_that_it_is_not_asked(self, client):
        client.post(address("create"), GIVEN | {"output_price": ""})
        made = Connection.objects.get()
        assert made.output_price_micros is None
        assert "not asked until it has a price" in page(client, made).content.decode()
        assert "Not asked until it has a price" in client.get(address("list")).content.decode()

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"base_url": "http://llm.example.org/v1"}, "must begin with https"),
            ({"base_url": "https://10.0.0.1/v1"}, "private address"),
            ({"currency": "12$"}, "three letters"),
            ({"input_price": "-1"}, "greater than or equal to 0"),
            ({"timeout_seconds": "0"}, "greater than or equal to 1"),
            ({"name": ""}, "This field is required"),
            ({"key": "a b"}, "blanks"),
        ],
    )
    def test_what_cannot_work_is_said(self, client, wrong, sentence):
        response = client.post(address("create"), GIVEN | wrong)
        assert response.status_code == 422
        assert sentence in response.content.decode()
        assert LLM_KEY not in response.content.decode()
        assert not Connection.objects.exists()


class TestChange:
    def test_an_empty_key_keeps_the_stored_one(self, client, make):
        made = make()
        client.post(address("show", made), GIVEN | {"key": "", "model": "m-2"})
        now = Connection.objects.get()
        assert (now.model, connections.endpoint_of(now).key) == ("m-2", LLM_KEY)

    def test_only_its_end_is_shown(self, client, make):
        html = page(client, make()).content.decode()
        assert "ending in 7ae2" in html
        assert LLM_KEY not in html

    def test_it_can_be_taken_away(self, client, make):
        client.post(address("show", make()), GIVEN | {"key": "", "removes_key": "on"})
        assert connections.endpoint_of(Connection.objects.get()).key == ""

    def test_another_server_does_not_get_it(self, client, make):
        made = make()
        changed = GIVEN | {"key": "", "base_url": "https://elsewhere.example.org/v1"}
        response = client.post(address("show", made), changed, follow=True)
        assert "must not get the old one" in response.content.decode()
        assert connections.endpoint_of(Connection.objects.get()).key == ""

    def test_the_key_is_in_no_answer_and_no_event(self, client, make):
        made = make()
        for wrong in ({}, {"name": ""}, {"base_url": "https://10.0.0.1/v1"}, {"currency": "x"}):
            response = client.post(address("show", made), GIVEN | wrong)
            assert LLM_KEY not in response.content.decode() + str(response.headers)
        assert LLM_KEY not in str(list(Event.objects.values_list("data", flat=True)))

    def test_a_name_is_text_and_nothing_else(self, client, make):
        html = page(client, make(name="<script>alert(1)</script>")).content.decode()
        assert "<script>alert(1)" not in html


class TestTest:
    def test_it_says_what_one_question_showed(self, client, make):
        with stub_llm() as server:
            made = make(base_url=server.base_url, allows_private=True)
            html = client.post(address("test", made)).content.decode()
        assert "The model answers in" in html
        assert "Alternatives with log-probabilities" in html
        assert LLM_KEY not in html

    def test_nobody_there_is_a_sentence(self, client, make):
        made = make(base_url="http://127.0.0.1:9/v1", allows_private=True)
        response = client.post(address("test", made))
        assert response.status_code == 200
        assert "does not accept connections" in response.content.decode()


class TestLend:
    def test_exactly_those_that_are_checked(self, client, make):
        made, one, two, three = make(), make_project(), make_project(), make_project()
        made.lent_to.set([one, two])
        client.post(address("lend", made), {"projects": [two.public_id, three.public_id, "0" * 20]})
        assert set(made.lent_to.all()) == {two, three}

    def test_another_currency_lends_nothing_at_all(self, client, make):
        made, one, other = make(), make_project(), make_project(currency="EUR")
        assert f'value="{other.public_id}" disabled' in page(client, made).content.decode()
        response = client.post(address("lend", made), {"projects": [one.public_id, other.public_id]})
        assert response.status_code == 409
        assert not made.lent_to.exists()


class TestSwitch:
    def test_off_and_on_again(self, client, make):
        made = make()
        client.post(address("switch", made), {"active": "no"})
        assert not Connection.objects.get().is_active
        assert "Switch it on" in page(client, made).content.decode()
        client.post(address("switch", made), {"active": "yes"})
        assert Connection.objects.get().is_active

    def test_it_says_how_many_pre_labels_stop(self, client, make):
        made, project = make(), make_project()
        made.lent_to.add(project)
        project.connection = made
        project.save()
        make_run(project, kind="prelabel", state="running")
        assert "1 pre-label that asks it now pauses within seconds" in page(client, made).content.decode()


def test_queries_do_not_grow(client, make, django_assert_max_num_queries):
    for number in range(3):
        made = make(name=f"Server {number}")
        made.lent_to.set([make_project() for _ in range(4)])
    with django_assert_max_num_queries(7):
        client.get(address("list"))
    with django_assert_max_num_queries(8):
        page(client, made)


@pytest.mark.usefixtures("pseudo_locale")
def test_every_page_of_a_site_owner_is_translated(client, make):
    made = make(output_price_micros=None, allows_private=True)
    made.lent_to.add(make_project())
    make_project(currency="EUR")
    data = known_strings() | {"llm.example.org"}
    for url in (address("list"), address("create"), address("show", made)):
        assert untranslated(client.get(url).content.decode(), data | known_strings()) == []
    Connection.objects.all().delete()
    assert untranslated(client.get(address("list")).content.decode(), known_strings()) == []
