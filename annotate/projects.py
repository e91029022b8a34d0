"""Decides what a project is made of: its secret key, versions of labels and guidelines, and its members."""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, Q
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotate import access, modalities
from annotate.access import MAY
from annotate.errors import AccessDenied, Conflict, InvalidInput
from annotate.markdown import check as check_markdown
from annotate.models import Budget, Event, GuidelineVersion, Label, LabelSchema, Member, Project, User
from annotate.models.base import is_storable, time_zones
from annotate.models.event import record
from annotate.models.project import Role, SuggestionPolicy, hidden_suggestions
from annotate.models.schema import N_COLOURS
from models_ml.label_matching import form
from models_ml.texts import has_text, trimmed

MAX_LABELS = 1_000
_KEYS = "1234567890"
_JOINERS = "\u200c\u200d"  # zero width; Persian and Indic words and joined emoji are written with them


@dataclass(frozen=True)
class NewLabel:
    """A label as its author wrote it, the name without blanks around it; a new schema makes a row of it."""

    name: str
    definition: str = ""
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", trimmed(self.name))


class ShortNameTaken(Conflict):
    """Another project has this short name (slug)."""


def may_create(user: User) -> bool:
    """Whether `user` may make projects: owners of the site may, and whoever manages a project already."""
    if not user.is_active or user.is_simulated:
        return False
    return user.is_site_owner or user.memberships.filter(role__in=MAY["manage"]).exists()


def require_may_create(user: User) -> None:
    """AccessDenied unless `user` may make projects. Called by pages and API; commands need no such right."""
    if not may_create(user):
        raise AccessDenied(_("Projects are made by those who run this site or manage a project already. Ask them."))


@transaction.atomic
def create(
    *,
    name: str,
    labels: Sequence[NewLabel],
    by: User,
    slug: str = "",
    modality: str = "text",
    key: bytes | None = None,
    **settings: Any,
) -> Project:
    """Make a project owned by `by`, with its secret key, the key's commitment, two budgets and the first schema.

    `key` is for simulations that must be repeatable; otherwise 32 random bytes. `settings` are fields of Project.
    """
    check_labels(labels)
    modalities.modality(modality)
    if not slugify(slug or name):
        sentence = _("The name %(name)r gives no short name; choose one of letters a-z, digits and hyphens.")
        raise InvalidInput(sentence % {"name": name})
    key = key or secrets.token_bytes(32)
    project = Project(
        name=name,
        slug=slugify(slug or name),
        modality=modality,
        key=key,
        key_commitment=hashlib.sha256(key).hexdigest(),
        **{"seed": secrets.randbits(31), **settings},
    )
    if Project.objects.filter(slug=project.slug).exists():
        sentence = _("There is a project %(slug)r already; choose another short name.")
        raise ShortNameTaken(sentence % {"slug": project.slug})
    validate(project)
    project.save()
    Member.objects.create(project=project, user=by, role=Role.OWNER, is_trusted=True)
    Budget.objects.bulk_create(Budget(project=project, kind=kind) for kind in Budget.Kind)
    add_schema(project=project, labels=labels, by=by)
    record("project.created", project=project, by=by, key_commitment=project.key_commitment)
    return project


@transaction.atomic
def add_schema(*, project: Project, labels: Sequence[NewLabel], by: User, base: int | None = None) -> LabelSchema:
    """Store the next version of the labels; Conflict once any item was labeled or pre-labeled.

    `base`: the version that the author edited; Conflict where somebody else saved a later one meanwhile.
    """
    access.require(by, project, to="manage")
    Project.objects.select_for_update().get(pk=project.pk)  # two versions saved at once get two numbers
    if are_labels_in_use(project):
        raise Conflict(_("The labels are in use; changing them now would change what existing answers mean."))
    check_labels(labels, names_today(project))
    latest = project.schemas.order_by("-version").first()
    version = next_version(project)
    if base not in (None, latest and latest.version):
        raise Conflict(_("Somebody else saved other labels meanwhile. Yours are not saved yet."))
    schema = LabelSchema.objects.create(project=project, version=version, created_by=by)
    Label.objects.bulk_create(Label(schema=schema, **label_fields(label, i)) for i, label in enumerate(labels))
    record("schema.created", project=project, by=by, version=schema.version, n_labels=len(labels))
    return schema


def label_fields(label: NewLabel, index: int) -> dict[str, Any]:
    """The fields of the row that stores a label in the column `index` of its schema."""
    return {
        "index": index,
        "name": label.name,
        "key": _KEYS[index] if index < len(_KEYS) else None,
        "colour": index % N_COLOURS + 1,
        "definition": label.definition,
        "examples": list(label.examples),
    }


def are_labels_in_use(project: Project) -> bool:
    """Whether any item was labeled or pre-labeled: from then on labels are changed and no longer just replaced."""
    used = Q(Exists(project.annotations.all())) | Q(Exists(project.prompts.all())) | Q(Exists(project.gold.all()))
    return Project.objects.filter(used, pk=project.pk).exists()  # one query: pages ask it beside many others


@transaction.atomic
def set_guidelines(*, project: Project, markdown: str, by: User, base: int | None = None) -> GuidelineVersion:
    """Store the next version of the guidelines; returns the latest version where its text is the same.

    `base`: the version that the author edited (0: none); Conflict where somebody else saved a later one meanwhile.
    """
    access.require(by, project, to="manage")
    check_guidelines(markdown)
    Project.objects.select_for_update().get(pk=project.pk)  # two versions saved at once get two numbers
    latest = current_guidelines(project)
    if latest is not None and latest.markdown == markdown:
        return latest
    version = latest.version + 1 if latest else 1
    if base not in (None, version - 1):
        names = {"version": version - 1, "person": latest.created_by if latest else None}
        raise Conflict(_("%(person)s saved version %(version)s while you were writing. Yours was not saved.") % names)
    guidelines = GuidelineVersion.objects.create(project=project, version=version, markdown=markdown, created_by=by)
    record("guidelines.created", project=project, by=by, version=version)
    return guidelines


@transaction.atomic
def add_member(*, project: Project, user: User, role: str, is_trusted: bool, by: User) -> Member:
    """Make `user` a member, or change a member's role and trust. Conflict for the owner, who stays the owner."""
    access.require(by, project, to="manage")
    if role not in Role.values or role == Role.OWNER:
        choices = ", ".join(sorted(set(Role.values) - {Role.OWNER}))
        raise InvalidInput(
            _("%(role)r cannot be given; choose one of %(roles)s.") % {"role": str(role), "roles": choices}
        )
    if Member.objects.filter(project=project, user=user, role=Role.OWNER).exists():
        raise Conflict(_("%(person)s owns %(project)s.") % {"person": user, "project": project})
    member, _created = Member.objects.update_or_create(
        project=project, user=user, defaults={"role": role, "is_trusted": is_trusted}
    )
    record("member.set", project=project, by=by, user=user.public_id, role=role, is_trusted=is_trusted)
    return member


def current_schema(project: Project) -> LabelSchema:
    """The schema in force: the latest version of the labels."""
    return project.schemas.order_by("-version")[0]


def next_version(project: Project) -> int:
    """The number of the next version of the labels: never that of a version that was taken back.

    A page or a program may still hold questions that it got under that one, and names it when it answers.
    """
    latest = project.schemas.order_by("-version").values_list("version", flat=True).first()
    changes = Event.objects.filter(project=project, kind="labels.changed").order_by("-pk")
    changed = changes.values_list("data__version", flat=True).first()
    return max(latest or 0, changed or 0) + 1


def labels_of(schema: LabelSchema) -> list[Label]:
    """The K labels of a schema, in the order of their columns in K-vectors."""
    return list(schema.labels.order_by("index"))


def names_today(project: Project) -> frozenset[str]:
    """The names of the labels in force; none where the project is just being made."""
    schema = project.schemas.order_by("-version").first()
    return frozenset(schema.labels.values_list("name", flat=True)) if schema else frozenset()


def current_guidelines(project: Project) -> GuidelineVersion | None:
    """The guidelines in force: the latest version; None where none were written."""
    return project.guidelines.order_by("-version").first()


def parse_labels(data: object, today: Collection[str] = ()) -> list[NewLabel]:
    """Labels from JSON: a list (or {"labels": list}) of names or of {"name", "definition", "examples"}.

    `today`: as in `check_labels`.
    """
    rows = data.get("labels") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise InvalidInput(_('Labels must be a list of names or of {"name", "definition", "examples"}.'))
    labels = [_parse_label(row, place) for place, row in enumerate(rows, start=1)]
    check_labels(labels, today)
    return labels


def check_labels(labels: Sequence[NewLabel], today: Collection[str] = ()) -> None:
    """InvalidInput unless there are 2 to MAX_LABELS labels with usable names that differ in more than form.

    Names that are `today` in the project may differ in form only: values mean one of them by its exact name.
    """
    if not 2 <= len(labels) <= MAX_LABELS:
        raise InvalidInput(
            _("A project needs 2 to %(most)d labels; %(n)d were given.") % {"most": MAX_LABELS, "n": len(labels)}
        )
    for label in labels:
        if not has_text(label.name) or len(label.name) > 100 or not all(map(_may_be_in_a_name, label.name)):
            raise InvalidInput(_("%(name)r cannot be a label: 1 to 100 printable characters.") % {"name": label.name})
        if not all(is_storable(text) for text in (label.definition, *label.examples)):
            sentence = _("The definition or an example of %(name)r holds half a character or a NUL.")
            raise InvalidInput(sentence % {"name": label.name})
    _check_differences([label.name for label in labels], today)


def _check_differences(names: Sequence[str], today: Collection[str]) -> None:
    """InvalidInput where two names are the same, or have the same form and are not both names of today."""
    seen: dict[str, list[str]] = {}
    for name in names:
        for other in seen.setdefault(form(name), []):
            if other == name:
                raise InvalidInput(_("The label %(name)r is there twice.") % {"name": name})
            if not {name, other} <= set(today):
                sentence = _("The labels %(other)r and %(name)r differ only in how they are written; rename one.")
                raise InvalidInput(sentence % {"other": other, "name": name})
        seen[form(name)].append(name)


def _may_be_in_a_name(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or category(character) == "Zs"


def check_guidelines(markdown: str) -> None:
    """InvalidInput unless the text can be stored as guidelines: some text, not too costly to show, no NUL."""
    if not markdown.strip():
        raise InvalidInput(_("The guidelines are empty."))
    check_markdown(markdown)
    if not is_storable(markdown):
        raise InvalidInput(_("The guidelines hold a NUL character or half of one."))


def _parse_label(row: object, place: int) -> NewLabel:
    if isinstance(row, str):
        return NewLabel(row)
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise InvalidInput(_('Label %(place)d needs a "name".') % {"place": place})
    definition, examples = row.get("definition", ""), row.get("examples", [])
    if not isinstance(definition, str) or not isinstance(examples, list):
        sentence = _('Label %(place)d (%(name)s): "definition" is a text, "examples" a list of texts.')
        raise InvalidInput(sentence % {"place": place, "name": row["name"]})
    if not all(isinstance(example, str) for example in examples):
        names = {"place": place, "name": row["name"]}
        raise InvalidInput(_("Label %(place)d (%(name)s): every example is a text.") % names)
    return NewLabel(row["name"], definition, tuple(examples))


def validate(project: Project) -> None:
    """InvalidInput, in one sentence, where a setting of the project breaks the model's rules or those named here."""
    if not re.fullmatch("[A-Z]{3}", project.currency):
        raise InvalidInput(_("A currency is three capital letters, for instance EUR."))
    if project.time_zone not in time_zones():
        raise InvalidInput(_("%(zone)r is no time zone; choose one of the list.") % {"zone": project.time_zone})
    policy = project.suggestion_policy
    if set(policy) != set(hidden_suggestions()) or not set(policy.values()) <= set(SuggestionPolicy.values):
        raise InvalidInput(_("Suggestions have one policy for each of: %(arms)s.") % {"arms": ", ".join(policy)})
    try:
        project.full_clean(exclude=["key"])
    except ValidationError as error:
        sentences = [
            " ".join(texts) if field == "__all__" else f"{field}: {' '.join(texts)}"
            for field, texts in error.message_dict.items()
        ]
        raise InvalidInput("; ".join(sentences)) from error
