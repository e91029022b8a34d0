"""The review queue: who sees it, what it shows and never shows, and deciding by a form."""

import re

import pytest
from django.urls import reverse

from annotate.labeling import answers, leases
from annotate.models import Adjudication, Annotation, Gold, QueueEntry
from annotate.models.project import Arm, Role
from tests.annotate.asking import label
from tests.factories import make_member, make_project, make_user, owner_of
from tests.web.labeling.rows import make_round
from tests.web.labeling.test_blindness import machines_say

pytestmark = pytest.mark.django_db
_FRESH = re.compile(rb'csrfmiddlewaretoken" value="[^"]*"')


@pytest.fixture
def project():
    return make_project()


def ask(project, texts, overlap=2):
    return list(make_round(project, texts, overlap=overlap).queue.select_related("round__project", "item"))


def make_disputes(project, n=1, labels=("yes", "no")):
    """n questions on which Ann and Ben disagree, with a comment each."""
    people = [make_member(project, name) for name in ("Ann", "Ben")]
    entries = ask(project, [f"disputed text {place}." for place in range(n)])
    for entry in entries:
        for person, name in zip(people, labels, strict=True):
            lease = leases.lease(entry=entry, annotator=person)
            said = answers.Answer(label=label(project, name), comment=f"<b>{person.name} says {name}</b>")
            key = f"{entry.pk} {person.pk}"
            answers.submit(lease_id=lease.public_id, project=project, answer=said, key=key, by=person)
    return entries


def address(entry, name="review-show", query=""):
    return reverse(name, args=[entry.round.project.slug, entry.round.index, entry.item.public_id]) + query


def post(client, entry, label="0", reason="clear", query="", **more):
    return client.post(address(entry, "review-decide", query), {"label": label, "reason": reason, **more})


def body_of(response):
    return response.content.decode()


class TestList:
    def url(self, project, query=""):
        return reverse("review-list", args=[project.slug]) + query

    def test_empty_it_says_what_that_means(self, signed_in, project):
        assert "shows up here" in body_of(signed_in(owner_of(project)).get(self.url(project)))

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.REVIEWER])
    def test_it_shows_what_waits_and_how_many(self, signed_in, project, role):
        make_disputes(project, 2)
        body = body_of(signed_in(make_member(project, "Ravi", role)).get(self.url(project)))
        assert "2 questions wait" in body
        assert "disputed text 1." in body
        assert re.search(r'Review <span class="badge badge-sm">2<', body)

    def test_htmx_gets_the_part_alone(self, signed_in, project):
        response = signed_in(owner_of(project)).get(self.url(project), headers={"HX-Request": "true"})
        assert "<html" not in body_of(response)

    @pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.VIEWER])
    def test_others_may_not(self, signed_in, project, role):
        client = signed_in(make_member(project, role=role))
        assert client.get(self.url(project)).status_code == 403
        assert "Review</a>" not in body_of(client.get(reverse("guidelines-show", args=[project.slug])))

    def test_a_stranger_does_not_find_it(self, signed_in, project):
        assert signed_in(make_user()).get(self.url(project)).status_code == 404

    def test_it_can_be_narrowed_to_a_pair_of_labels(self, signed_in, project):
        entries = make_disputes(project, 2)
        Annotation.objects.filter(item=entries[1].item, label__name="no").update(label=label(project, "maybe"))
        client = signed_in(owner_of(project))
        body = body_of(client.get(self.url(project, "?pair=0-2")))
        assert "disputed text 1." in body
        assert "disputed text 0." not in body
        assert "yes or maybe (1)" in body
        assert "disputed text 0." in body_of(client.get(self.url(project, "?pair=%3Cb%3E&round=x")))

    def test_it_can_be_narrowed_to_a_round(self, signed_in, project):
        make_disputes(project)
        client = signed_in(owner_of(project))
        assert "disputed text" in body_of(client.get(self.url(project, "?round=1")))
        assert "disputed text" not in body_of(client.get(self.url(project, "?round=2")))

    def test_own_answers_wait_for_somebody_else(self, signed_in, project):
        make_disputes(project)
        ann = project.members.get(user__name="Ann")
        ann.role = Role.REVIEWER
        ann.save()
        body = body_of(signed_in(ann.user).get(self.url(project)))
        assert "1 more waits for somebody else" in body
        assert "disputed text" not in body

    def test_what_was_decided_stays_with_its_reason(self, signed_in, project):
        [entry] = make_disputes(project)
        client = signed_in(owner_of(project))
        post(client, entry, "1", "<i>rule three</i>")
        body = body_of(client.get(self.url(project, "?show=decided")))
        assert "&lt;i&gt;rule three" in body
        assert "Olga" in body
        assert "disputed text" not in body_of(client.get(self.url(project)))

    @pytest.mark.parametrize("n", [3, 12])
    def test_its_queries_do_not_grow(self, signed_in, project, django_assert_num_queries, n):
        make_disputes(project, n)
        client = signed_in(owner_of(project))
        client.get(self.url(project))
        with django_assert_num_queries(14):
            client.get(self.url(project))


class TestShow:
    def test_it_puts_answers_side_by_side(self, signed_in, project):
        [entry] = make_disputes(project)
        body = body_of(signed_in(owner_of(project)).get(address(entry)))
        assert "disputed text 0." in body
        assert "&lt;b&gt;Ann says yes&lt;/b&gt;" in body
        assert "&lt;b&gt;Ben says no&lt;/b&gt;" in body

    def test_names_are_for_those_who_manage(self, signed_in, project):
        [entry] = make_disputes(project)
        Annotation.objects.update(comment="")
        ravi = make_member(project, "Ravi", Role.REVIEWER)
        body = body_of(signed_in(ravi).get(address(entry)))
        assert "Person A" in body
        assert "Ann" not in body.replace("Annot", "")
        assert "Ann" in body_of(signed_in(owner_of(project)).get(address(entry)))

    @pytest.mark.parametrize("role", [Role.REVIEWER, Role.OWNER])
    def test_what_the_machines_say_changes_no_byte(self, signed_in, project, role):
        [entry] = make_disputes(project)
        person = owner_of(project) if role == Role.OWNER else make_member(project, "Ravi", role)
        client, found = signed_in(person), []
        for said, score in ((0, 0.9), (1, 0.4)):
            machines_say(project, said, score)
            pages = (client.get(address(entry)), client.get(reverse("review-list", args=[project.slug])))
            found.append([_FRESH.sub(b"", page.content) for page in pages])
        assert found[0] == found[1]

    @pytest.mark.parametrize("arm", [Arm.AUDIT, Arm.ACTIVE])
    def test_the_arm_is_not_told(self, signed_in, project, arm):
        [entry] = make_disputes(project)
        before = _FRESH.sub(b"", signed_in(owner_of(project)).get(address(entry)).content)
        entry.item.draws.update(arm=arm)
        assert _FRESH.sub(b"", signed_in(owner_of(project)).get(address(entry)).content) == before

    def test_what_is_not_disputed_says_so_and_has_no_form(self, signed_in, project):
        [entry] = ask(project, ["a text"])
        body = body_of(signed_in(owner_of(project)).get(address(entry)))
        assert "not disputed" in body
        assert 'id="decision"' not in body

    @pytest.mark.parametrize(("n_labels", "n_people"), [(2, 2), (3, 6)])
    def test_its_queries_do_not_grow(self, signed_in, project, django_assert_num_queries, n_labels, n_people):
        [entry] = ask(project, ["a text"], overlap=n_people)
        for place in range(n_people):
            person = make_member(project)
            lease = leases.lease(entry=entry, annotator=person)
            said = answers.Answer(label=place % n_labels)
            answers.submit(lease_id=lease.public_id, project=project, answer=said, key=f"k{place}", by=person)
        client = signed_in(owner_of(project))
        client.get(address(entry))
        with django_assert_num_queries(18):
            client.get(address(entry))


class TestDecide:
    def test_it_keeps_the_decision_and_goes_on(self, signed_in, project):
        first, second = make_disputes(project, 2)
        response = post(signed_in(owner_of(project)), first, "1", query="?pair=0-1")
        assert response.status_code == 303
        assert response.url == address(second, query="?pair=0-1")
        assert Gold.objects.get().label.name == "no"
        assert response.client.get(response.url).content.decode().count("Decided: no.") == 1

    def test_after_the_last_comes_the_list(self, signed_in, project):
        [entry] = make_disputes(project)
        assert post(signed_in(owner_of(project)), entry).url == reverse("review-list", args=[project.slug])

    def test_it_may_be_that_it_cannot_be_decided(self, signed_in, project):
        [entry] = make_disputes(project)
        post(signed_in(owner_of(project)), entry, "none")
        assert Adjudication.objects.get().label is None
        assert QueueEntry.objects.get().state == "unresolved"

    @pytest.mark.parametrize(("given", "reason"), [("", "why"), ("7", "why"), ("x", "why"), ("0", ""), ("0", "  ")])
    def test_what_cannot_be_kept_is_said_and_nothing_is_lost(self, signed_in, project, given, reason):
        [entry] = make_disputes(project)
        response = post(signed_in(owner_of(project)), entry, given, reason)
        assert response.status_code == 422
        assert f'name="reason" value="{reason}"' in body_of(response)
        assert not Adjudication.objects.exists()

    def test_somebody_was_quicker(self, signed_in, project):
        [entry] = make_disputes(project)
        post(signed_in(make_member(project, "Ravi", Role.REVIEWER)), entry, "1")
        response = post(signed_in(owner_of(project)), entry, "0")
        assert response.status_code == 409
        assert "Ravi has decided meanwhile: no" in body_of(response)
        assert Gold.objects.current().get().label.name == "no"

    def test_a_double_click_decides_once(self, signed_in, project):
        [entry] = make_disputes(project)
        client = signed_in(owner_of(project))
        assert [post(client, entry).status_code for _ in range(2)] == [303, 303]
        assert Adjudication.objects.count() == 1

    def test_a_second_thought_takes_the_form_that_shows_the_first(self, signed_in, project):
        [entry] = make_disputes(project)
        client = signed_in(owner_of(project))
        post(client, entry, "1", "first thought")
        body = body_of(client.get(address(entry)))
        assert 'value="first thought"' in body
        seen = re.search(r'name="seen" value="(\w+)"', body)[1]
        post(client, entry, "0", "second thought", seen=seen)
        assert Gold.objects.current().get().label.name == "yes"

    def test_get_is_refused(self, signed_in, project):
        [entry] = make_disputes(project)
        assert signed_in(owner_of(project)).get(address(entry, "review-decide")).status_code == 405
