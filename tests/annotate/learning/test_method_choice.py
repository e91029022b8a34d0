"""Which methods a project can train with, by the labels that it has."""

import pytest

from annotate.learning import method_choice
from annotate.models import Prediction
from models_ml.methods import Need
from tests.factories import make_project
from tests.rows import make_items, make_silver

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def test_a_project_without_labels_lacks_each_need_but_what_a_prior_serves(project):
    offers = method_choice.offers(project)
    assert [set(offer.missing) for offer in offers] == [
        set(offer.method.needs) - {Need.NOISE_MATRIX, Need.NOISE_RATE} for offer in offers
    ]


def test_silver_of_unknown_confidence_is_counted_as_not_soft(project):
    make_silver(project, make_items(project))
    assert method_choice._label_counts(project) == {"n_gold": 0, "n_silver": 4, "n_soft_silver": 0}


def test_a_distribution_makes_silver_soft(project):
    make_silver(project, make_items(project))
    Prediction.objects.filter(pk=Prediction.objects.first().pk).update(probabilities=b"\0" * 8)
    assert method_choice._label_counts(project) == {"n_gold": 0, "n_silver": 4, "n_soft_silver": 1}


def test_neither_failures_nor_withdrawn_items_are_counted(project):
    items = make_items(project)
    make_silver(project, items[:2], status="refusal")
    make_silver(project, items[2:])
    items[3].withdrawn_at = items[3].source.finished_at
    items[3].save(update_fields=["withdrawn_at"])
    assert method_choice._label_counts(project)["n_silver"] == 1


def test_offers_take_four_queries(project, django_assert_num_queries):
    make_silver(project, make_items(project))
    with django_assert_num_queries(4):
        method_choice.offers(project)
