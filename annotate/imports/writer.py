"""Decides how the rows of an import are stored: each chunk in one transaction, together with the import's cursor."""

import hashlib
from functools import cached_property

import orjson
from django.db import transaction
from django.db.models import F, Max
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from annotate.errors import InvalidInput, RunLost
from annotate.formats.columns import Chosen, Fields, check, chosen
from annotate.formats.reader import JsonLines, Line, Reader
from annotate.imports.rows import Admitted, ImportedSilver, Kind, Known, ParsedRow, Rules, decide, read
from annotate.labels import current as current_labels
from annotate.modalities import modality
from annotate.models import (
    Draw,
    Gold,
    Import,
    Item,
    ItemPayload,
    LabelSchema,
    Prediction,
    Project,
    PromptVersion,
    RejectedRow,
    Round,
    bulk,
)
from annotate.models.base import make_public_id
from annotate.models.project import Arm
from annotate.runs import lifecycle
from models_ml import randomness
from models_ml.confidences import Scale

Read = ParsedRow | RejectedRow
_MAX_MODEL = 200  # characters of a column's name that are kept as the model; paths in JSON may be longer
IMPORTED = "imported"  # the annotator, and the gold rule, of labels that came in a file


class Writer:
    """Reads and stores the chunks of one import; keeps no rows, but asks the database for what each chunk needs."""

    def __init__(self, source: Import, attempt: lifecycle.Attempt, n_lines: int, reader: Reader | None = None) -> None:
        self.source, self.attempt, self.n_lines = source, attempt, n_lines
        self.project = source.project
        self.key = bytes(self.project.key)
        fields = Fields(**source.options["fields"])
        self.schema = self.project.schemas.filter(version=source.options["schema"]).first()
        self.rules = rules_of(
            self.project, self.schema, fields, reader or JsonLines(), source.options.get("confidence_scale")
        )

    @cached_property
    def prompt(self) -> PromptVersion:
        """The prompt version of the file's silver, made when the first row has some: a version of nothing is none."""
        assert self.schema
        return _prompt(self.project, self.schema, self.rules.fields)

    def read(self, chunk: list[Line]) -> list[Read]:
        """Parse the lines and compute random numbers and folds: all the work that needs no query.

        May run in another thread, and keeps the transaction of `store` short, for which other writers wait.
        """
        rows = [read(*line, self.rules) for line in chunk]
        for row in rows:
            if isinstance(row, ParsedRow):
                row.prn = randomness.unit_interval(self.key, row.content_hash)
                row.fold = randomness.fold(self.key, row.content_hash, self.project.n_folds)
        return rows

    def store(self, rows: list[Read]) -> None:
        """Store a chunk's items, labels and other lines and advance the cursor, in one transaction.

        RunLost, and nothing stored, if another attempt took the import over.
        """
        done = rows[-1].line
        with transaction.atomic():
            self.attempt.write(done, self.n_lines)
            admitted = decide(
                rows,
                *self._known([row for row in rows if isinstance(row, ParsedRow)]),
                self.rules.reader.excerpt,
            )
            self._insert_items(admitted)
            self._insert_labels(admitted)
            for line in admitted.lines:
                line.source = self.source
            RejectedRow.objects.bulk_create(admitted.lines)
            self._advance(done, admitted)
        # The caller has these two objects: if it saved an old one whole, the next ordinal would go back.
        self.project.refresh_from_db(fields=["next_ordinal"])
        self.source.refresh_from_db(fields=["cursor", "n_items", "n_revived", "n_duplicates", "n_rejected"])

    def _known(self, rows: list[ParsedRow]) -> tuple[dict[str, Known], dict[str, str]]:
        """What `what_is_there` finds, and the items that earlier chunks of this import will bring back."""
        known, holders = what_is_there(self.project, rows)
        if self.source.n_revived:
            self._add_pending(known, holders, [row.external_id for row in rows if row.external_id is not None])
        return known, holders

    def _add_pending(self, known: dict[str, Known], holders: dict[str, str], wanted: list[str]) -> None:
        """Count items that an earlier chunk will bring back as not withdrawn, with their new external ids."""
        pending = RejectedRow.objects.filter(source=self.source, kind=Kind.REVIVED)
        public_ids = [item.public_id for item in known.values() if item.is_withdrawn]
        coming = set(pending.filter(excerpt__in=public_ids).values_list("excerpt", flat=True))
        for item in known.values():
            item.is_withdrawn = item.is_withdrawn and item.public_id not in coming
        claims = {row.excerpt: row.external_id or "" for row in pending.filter(external_id__in=wanted)}
        claimed = Item.objects.filter(public_id__in=claims).values_list("public_id", "content_hash")
        for public_id, content_hash in claimed:
            holders.setdefault(claims[public_id], content_hash)

    def _insert_items(self, admitted: Admitted) -> None:
        if not admitted.new:
            return
        first = Project.objects.select_for_update().values_list("next_ordinal", flat=True).get(pk=self.project.pk)
        new = [row for row, _ in admitted.new]
        project, source, name = self.project.pk, self.source.pk, self.project.modality
        bulk.insert(
            Item,
            (
                "project",
                "source",
                "public_id",
                "ordinal",
                "modality",
                "content_hash",
                "external_id",
                "prn",
                "fold",
            ),
            [
                (
                    project,
                    source,
                    make_public_id(),
                    ordinal,
                    name,
                    row.content_hash,
                    row.external_id,
                    row.prn,
                    row.fold,
                )
                for ordinal, row in enumerate(new, start=first)
            ],
        )
        made = Item.objects.filter(project=self.project, ordinal__gte=first).order_by("ordinal")
        ids = list(made.values_list("pk", flat=True))
        bulk.insert(
            ItemPayload,
            ("item", "payload", "metadata"),
            [(pk, row.payload, row.metadata) for pk, row in zip(ids, new, strict=True)],
        )
        for pk, (_row, item) in zip(ids, admitted.new, strict=True):
            item.id = pk
        Project.objects.filter(pk=self.project.pk).update(next_ordinal=first + len(new))

    def _insert_labels(self, admitted: Admitted) -> None:
        # Existing rows stay: an item whose imported gold was replaced has such a draw already, and an item that the
        # file or an earlier one holds twice may have silver of this prompt version already.
        Draw.objects.bulk_create(
            (
                Draw(
                    project=self.project,
                    item_id=item.id,
                    arm=Arm.IMPORTED,
                    reason="came with a label said to be gold",
                )
                for item, _ in admitted.gold
            ),
            ignore_conflicts=True,
        )
        Gold.objects.bulk_create(
            Gold(
                project=self.project,
                item_id=item.id,
                label=label,
                rule=IMPORTED,
                origin=Arm.IMPORTED,
                is_blind=False,
            )
            for item, label in admitted.gold
        )
        Prediction.objects.bulk_create(
            (self._prediction(item, silver) for item, silver in admitted.silver), ignore_conflicts=True
        )

    def _prediction(self, item: Known, silver: ImportedSilver) -> Prediction:
        return Prediction(
            item_id=item.id,
            prompt=self.prompt,
            status=silver.status,
            label_index=silver.index,
            probabilities=silver.vector,
            message=silver.message,
        )

    def _advance(self, done: int, admitted: Admitted) -> None:
        source = self.source
        changed = Import.objects.filter(pk=source.pk, state=Import.State.RUNNING, cursor=source.cursor).update(
            cursor=done,
            n_items=F("n_items") + len(admitted.new),
            n_revived=F("n_revived") + admitted.count(Kind.REVIVED),
            n_duplicates=F("n_duplicates") + admitted.count(Kind.DUPLICATE),
            n_rejected=F("n_rejected") + admitted.count(Kind.REJECTED),
        )
        if changed != 1:
            raise RunLost(
                _("This import of %(file_name)s was taken over; nothing more was written.")
                % {"file_name": source.file_name}
            )


def checked(columns: Chosen, project: Project) -> Fields:
    """The chosen columns as Fields; InvalidInput if no items of this project can be made of them."""
    fields = modality(project.modality).FIELDS
    found = chosen(columns, fields)
    check(found, fields)
    if (found.gold or found.silver) and not project.schemas.exists():
        raise InvalidInput(_("%(project)s has no labels yet, so no column can carry them.") % {"project": project})
    return found


def rules_of(
    project: Project, schema: LabelSchema | None, fields: Fields, reader: Reader, scale: str | None = None
) -> Rules:
    """The rules that read rows as items of this project, with the labels of `schema`."""
    labels = {label.name: label for label in schema.labels.all()} if schema else {}
    return Rules(modality(project.modality), fields, labels, reader, Scale(scale or Scale.FRACTION))


def what_is_there(project: Project, rows: list[ParsedRow]) -> tuple[dict[str, Known], dict[str, str]]:
    """The project's items with these rows' contents, by content hash; and who has their external ids, as content hash.

    Withdrawn items are among the first, but their external ids are free.
    """
    fields = ("id", "public_id", "content_hash", "withdrawn_at")
    hashes = [row.content_hash for row in rows]
    stored = bulk.matching(Item, fields, field="content_hash", among=hashes, project=project.pk)
    takes_gold = not Round.objects.filter(project=project).exists()
    known = {
        content: Known(pk, public_id, gone is not None, takes_gold=takes_gold)
        for pk, public_id, content, gone in stored
    }
    wanted = [row.external_id for row in rows if row.external_id is not None]
    active = "withdrawn_at IS NULL"
    holders = bulk.matching(
        Item, ("external_id", "content_hash"), field="external_id", among=wanted, where=active, project=project.pk
    )
    if any(row.gold for row in rows):
        by_id = {item.id: item for item in known.values()}
        gold = Gold.objects.filter(item_id__in=by_id).trainable()
        history = current_labels(project)
        # Void gold stays, too, under the name that it was given by: a file puts nothing in its place.
        for item_id, label, name in gold.values_list("item_id", "label_id", "label__name"):
            now = history.gold_label(label)
            by_id[item_id].gold = now.name if now else name
    return known, dict(holders)


def _prompt(project: Project, schema: LabelSchema, fields: Fields) -> PromptVersion:
    """The prompt version of silver from this column: one for all files with the same columns and labels."""
    assert fields.silver
    parameters = {"field": fields.silver, "confidence_field": fields.confidence}
    content = {"annotator": IMPORTED, "model": fields.silver, "schema": schema.version, "parameters": parameters}
    sha256 = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    with transaction.atomic():
        last = project.prompts.aggregate(last=Coalesce(Max("version"), 0))["last"]
        prompt, _ = PromptVersion.objects.get_or_create(
            project=project,
            sha256=sha256,
            defaults={
                "version": last + 1,
                "annotator": IMPORTED,
                "model": fields.silver[:_MAX_MODEL],
                "schema": schema,
                "parameters": parameters,
            },
        )
    return prompt
