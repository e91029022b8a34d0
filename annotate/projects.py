"""Making projects: their key, their labels, their guidelines and their people."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotate import access, modalities
from annotate.errors import Conflict, InvalidInput
from annotate.models import Budget, GuidelineVersion, Label, LabelSchema, Member, Project, User
from annotate.models.base import is_storable
from annotate.models.event import record
from annotate.models.project import Role
from annotate.models.schema import N_COLOURS

MAX_LABELS = 1_000
_KEYS = "1234567890"


@dataclass(frozen=True)
class NewLabel:
    name: str
    definition: str = ""
    examples: tuple[str, ...] = ()


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
    """A project owned by `by`. Its secret key is made here (or given, to repeat a simulation) and committed to."""
    check_labels(labels)
    modalities.modality(modality)
    if not slugify(slug or name):
        raise InvalidInput(f"The name {name!r} gives no short name; choose one of letters a-z, digits and hyphens.")
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
        raise Conflict(f"There is a project {project.slug!r} already; choose another short name.")
    _validate(project)
    project.save()
    Member.objects.create(project=project, user=by, role=Role.OWNER, is_trusted=True)
    Budget.objects.bulk_create(Budget(project=project, kind=kind) for kind in Budget.Kind)
    add_schema(project=project, labels=labels, by=by)
    record("project.created", project=project, by=by, key_commitment=project.key_commitment)
    return project


@transaction.atomic
def add_schema(*, project: Project, labels: Sequence[NewLabel], by: User) -> LabelSchema:
    """The next version of the labels; only before anything was labeled or pre-labeled with an older one."""
    if project.annotations.exists() or project.prompts.exists() or project.gold.exists():
        raise Conflict("The labels are in use; changing them now would change what existing answers mean.")
    check_labels(labels)
    schema = LabelSchema.objects.create(project=project, version=project.schemas.count() + 1, created_by=by)
    Label.objects.bulk_create(
        Label(
            schema=schema,
            index=index,
            name=label.name,
            key=_KEYS[index] if index < len(_KEYS) else None,
            colour=index % N_COLOURS + 1,
            definition=label.definition,
            examples=list(label.examples),
        )
        for index, label in enumerate(labels)
    )
    record("schema.created", project=project, by=by, version=schema.version, n_labels=len(labels))
    return schema


@transaction.atomic
def set_guidelines(*, project: Project, markdown: str, by: User) -> GuidelineVersion:
    """The next version of the guidelines; the same text again is no new version."""
    access.require(by, project, to="manage")
    if not markdown.strip():
        raise InvalidInput("The guidelines are empty.")
    if "\x00" in markdown:
        raise InvalidInput("The guidelines hold a NUL character.")
    latest = current_guidelines(project)
    if latest is not None and latest.markdown == markdown:
        return latest
    version = latest.version + 1 if latest else 1
    guidelines = GuidelineVersion.objects.create(project=project, version=version, markdown=markdown, created_by=by)
    record("guidelines.created", project=project, by=by, version=version)
    return guidelines


@transaction.atomic
def add_member(*, project: Project, user: User, role: str, is_trusted: bool, by: User) -> Member:
    """Let `user` in, or change what they may do. The owner stays the owner."""
    access.require(by, project, to="manage")
    if role not in Role.values or role == Role.OWNER:
        given = ", ".join(sorted(set(Role.values) - {Role.OWNER}))
        raise InvalidInput(
            _("%(role)r cannot be given; choose one of %(roles)s.") % {"role": str(role), "roles": given}
        )
    if Member.objects.filter(project=project, user=user, role=Role.OWNER).exists():
        raise Conflict(_("%(person)s owns %(project)s.") % {"person": user, "project": project})
    member, _created = Member.objects.update_or_create(
        project=project, user=user, defaults={"role": role, "is_trusted": is_trusted}
    )
    record("member.set", project=project, by=by, user=user.public_id, role=role, is_trusted=is_trusted)
    return member


def current_schema(project: Project) -> LabelSchema:
    """The labels in force."""
    return project.schemas.order_by("-version")[0]


def current_guidelines(project: Project) -> GuidelineVersion | None:
    """The guidelines in force, or None where none were written."""
    return project.guidelines.order_by("-version").first()


def parse_labels(data: object) -> list[NewLabel]:
    """Labels from JSON: a list (or {"labels": list}) of names or of {"name", "definition", "examples"}."""
    rows = data.get("labels") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise InvalidInput('Labels must be a list of names or of {"name", "definition", "examples"}.')
    labels = [_parse_label(row, place) for place, row in enumerate(rows, start=1)]
    check_labels(labels)
    return labels


def check_labels(labels: Sequence[NewLabel]) -> None:
    """InvalidInput unless there are 2 to MAX_LABELS labels with distinct, usable names."""
    if not 2 <= len(labels) <= MAX_LABELS:
        raise InvalidInput(f"A project needs 2 to {MAX_LABELS} labels; {len(labels)} were given.")
    seen: set[str] = set()
    for label in labels:
        if not label.name.strip() or len(label.name) > 100 or not label.name.isprintable():
            raise InvalidInput(f"{label.name!r} cannot be a label: 1 to 100 printable characters.")
        if label.name.strip() in seen:
            raise InvalidInput(f"The label {label.name!r} is there twice.")
        seen.add(label.name.strip())
        if not all(is_storable(text) for text in (label.definition, *label.examples)):
            raise InvalidInput(f"The definition or an example of {label.name!r} holds half a character or a NUL.")


def _parse_label(row: object, place: int) -> NewLabel:
    if isinstance(row, str):
        return NewLabel(row)
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise InvalidInput(f'Label {place} needs a "name".')
    definition, examples = row.get("definition", ""), row.get("examples", [])
    if not isinstance(definition, str) or not isinstance(examples, list):
        raise InvalidInput(f'Label {place} ({row["name"]}): "definition" is a text, "examples" a list of texts.')
    if not all(isinstance(example, str) for example in examples):
        raise InvalidInput(f"Label {place} ({row['name']}): every example is a text.")
    return NewLabel(row["name"], definition, tuple(examples))


def _validate(project: Project) -> None:
    """Settings of a new project against the model's own rules, as one sentence."""
    try:
        project.full_clean(exclude=["key"])
    except ValidationError as error:
        sentences = [
            " ".join(texts) if field == "__all__" else f"{field}: {' '.join(texts)}"
            for field, texts in error.message_dict.items()
        ]
        raise InvalidInput("; ".join(sentences)) from error
