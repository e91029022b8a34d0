"""Many rows at once: they arrive as they are, and what is refused is an error of Django's, on each database."""

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate.models import ItemPayload, Prediction, PromptVersion, RejectedRow, bulk
from annotate.projects import current_schema
from tests.factories import make_project
from tests.rows import make_items

pytestmark = pytest.mark.django_db
AWKWARD = (
    "tab\there",
    "line\nbreak\r\n",
    "back\\slash \\N \\.",
    "\\.",
    "quote ' and \"",
    "{a,b}",
    "بطاقة 👩‍👩‍👧",
    " ",
    "",
)


@pytest.fixture
def source():
    return make_items(make_project(), 1)[0].source


def reject(source, texts, first=1):
    rows = [(source.pk, "rejected", line, text, None, text) for line, text in enumerate(texts, start=first)]
    bulk.insert(RejectedRow, ("source", "kind", "line", "reason", "external_id", "excerpt"), rows)


def test_texts_arrive_as_they_are(source):
    reject(source, AWKWARD)
    stored = RejectedRow.objects.order_by("line").values_list("reason", "external_id", "excerpt")
    assert list(stored) == [(text, None, text) for text in AWKWARD]


def test_json_bytes_numbers_and_times_arrive_as_they_are():
    project = make_project()
    [item] = make_items(project, 1)
    ItemPayload.objects.all().delete()
    bulk.insert(ItemPayload, ("item", "payload", "metadata"), [(item.pk, '{"text": "a\\tb\\\\"}', "{}")])
    assert ItemPayload.objects.get().payload == {"text": "a\tb\\"}
    prompt = PromptVersion.objects.create(
        project=project, version=1, annotator="offline", model="m", schema=current_schema(project), sha256="0"
    )
    now, every_byte = timezone.now(), bytes(range(256))
    row = (item.pk, prompt.pk, "ok", 1, every_byte, 0, 0, 7, "", bulk.stored(now), 1, True)
    fields = ("item", "prompt", "status", "label_index", "probabilities", "n_input_tokens", "n_output_tokens")
    bulk.insert(Prediction, (*fields, "cost_micros", "message", "created_at", "attempt", "is_current"), [row])
    stored = Prediction.objects.get()
    assert (bytes(stored.probabilities), stored.cost_micros, stored.created_at) == (every_byte, 7, now)


def test_no_rows_are_no_error(source):
    reject(source, [])
    assert not RejectedRow.objects.exists()


def test_a_broken_constraint_is_an_integrity_error_and_nothing_stays(source):
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.insert(
            RejectedRow,
            ("source", "kind", "line", "reason", "excerpt"),
            [(source.pk, "rejected", 1, "", ""), (source.pk, "rejected", 1, "", "")],
        )
    assert not RejectedRow.objects.exists()


def test_it_finds_rows_among_thousands_of_values(source):
    reject(source, AWKWARD)
    asked = [*AWKWARD[:3], *(f"nothing {number}" for number in range(9_000))]
    found = bulk.matching(RejectedRow, ("line",), field="reason", among=asked, source=source.pk)
    assert sorted(found) == [(1,), (2,), (3,)]
