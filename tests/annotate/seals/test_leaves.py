"""Each table is sealed or says why not; each field is fixed, may change by a rule, or says why it is left out."""

import pytest
from django.apps import apps

from annotate.seals import leaves

ALL = [*leaves.PROJECT, *leaves.SITE]


def test_every_table_is_sealed_or_says_why_not():
    ours = set(apps.get_app_config("annotate").get_models())
    assert ours == {leaf.model for leaf in ALL} | set(leaves.NOT_SEALED)


@pytest.mark.parametrize("leaf", ALL, ids=lambda leaf: leaf.name)
def test_every_field_is_fixed_or_may_change_or_says_why_it_is_left_out(leaf):
    fields = {field.attname for field in leaf.model._meta.concrete_fields if not field.primary_key}
    said = [*leaf.fixed, *leaf.state, *leaf.left_out]
    assert sorted(said) == sorted(fields)


def test_each_leaf_has_a_name_of_its_own():
    assert len({leaf.name for leaf in ALL}) == len(ALL)
