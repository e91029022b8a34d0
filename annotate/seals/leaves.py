"""Decides which rows the chains of seals hold, what of a row never changes, and how the rest of it may change.

Each table of this program is either a leaf here, or named in NOT_SEALED with the reason; a test looks. Each field of a
leaf is fixed, part of its state, or left out with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model, Q, QuerySet

from annotate import models
from annotate.models import Project
from annotate.seals import transitions
from annotate.seals.transitions import Rule, becomes, ends_once, explained, falls, never

State = Mapping[str, Any]


@dataclass(frozen=True)
class Leaf:
    """Rows of one table that are sealed.

    `fixed` never changes; `state` may, as `may_become` says of (change, events since). `may_go`: whether a row may be
    deleted. `left_out`: the other fields, each with the reason. `source`: the path from a row to the import that may
    have made it; while that runs its rows can be abandoned, and are not sealed yet.
    """

    name: str
    model: type[Model]
    project: str  # the path from a row to its project; "" for rows of the site
    fixed: tuple[str, ...]
    state: tuple[str, ...] = ()
    may_become: Rule = never
    may_go: Rule = never
    only: Q = field(default_factory=Q)
    source: str = ""
    title: tuple[str, ...] = ()  # fields that name a row for people, besides its key
    names: tuple[str, ...] = ()  # fields by which events name a row
    left_out: Mapping[str, str] = field(default_factory=dict)

    def rows(self, project: Project | None) -> QuerySet[Any]:
        """The rows of the project, or of the site for None, that can be sealed."""
        rows = self.beyond(project, 0)
        if self.source and project and project.imports.filter(state=models.Import.State.RUNNING).exists():
            return rows.filter(**{f"{self.source}__state": models.Import.State.COMPLETE})
        return rows

    def beyond(self, project: Project | None, key: int) -> QuerySet[Any]:
        """The rows with higher keys; those of an import under way, too."""
        rows: QuerySet[Any] = self.model._default_manager.filter(self.only)
        if key:
            rows = rows.filter(pk__gt=key)
        if project is not None:
            return rows.filter(**{self.project: project.pk})
        return rows.filter(project__isnull=True) if self.name == "site event" else rows

    @property
    def kinds(self) -> frozenset[str]:
        """The events with which sealed rows may change or go, or rows of lower keys may become those to be sealed."""
        return self.may_become.kinds | self.may_go.kinds | ({"import.completed"} if self.source else set())

    def named(self, key: int) -> str:
        """The row with this key, for people: by what names it, else by its key alone where it is gone."""
        row = self.model._default_manager.filter(pk=key).values_list(*self.title).first() if self.title else None
        words = [str(value) for value in row or () if value not in (None, "")]
        return f"{self.name} {' '.join(words)} (row {key})" if words else f"{self.name} (row {key})"


_COMPLETE = models.Import.State.COMPLETE
_LABELS = ("labels.changed", "labels.change_undone", "schema.created")
_IS_CURRENT = falls("is_current")
_SETTINGS = (
    "name", "slug", "overlap", "gold_rule", "agree_k", "suggestion_policy", "strategy", "audit_target",
    "reference_target", "target_accuracy", "currency", "human_price_micros", "time_zone",
)  # fmt: skip
_CHOSEN = ("annotator", "connection_id")
_OF_SERVER = (
    "name", "base_url", "model", "currency", "input_price_micros", "output_price_micros", "max_concurrency",
    "requests_per_minute", "timeout_seconds", "limit_name", "sends_temperature", "allows_private",
)  # fmt: skip
_SET = explained(["member.set"], naming="user__public_id", values="")
_HANDED_OVER = explained(["project.handed_over"], naming="user__public_id")
_CUTOFFS = "verify derives it from the rounds that are closed"
_RECOUNTED = "verify counts it again"

PROJECT: tuple[Leaf, ...] = (
    Leaf(
        "event", models.Event, "project", ("project_id", "actor_id", "kind", "data", "at"), title=("kind", "at"),
    ),
    Leaf(
        "project", models.Project, "pk",
        ("public_id", "modality", "is_simulated", "key", "key_commitment", "seed", "n_folds", "created_at",
         "audit_share", "encoder", "is_sealed_from_start"),
        (*_SETTINGS, *_CHOSEN),
        # Each field by itself: between two seals there may have been several changes, each with an event of its own.
        transitions.each(
            **dict.fromkeys(_SETTINGS, explained(["settings.changed"], values="after")),
            **dict.fromkeys(_CHOSEN, explained(["annotator.chosen"])),
        ),
        title=("slug",),
        left_out={"audit_cutoff": _CUTOFFS, "reference_cutoff": _CUTOFFS, "next_ordinal": _RECOUNTED,
                  "pool_revision": "part of no figure; a change makes another delivered version"},
    ),
    Leaf(
        "member", models.Member, "project", ("project_id", "user_id", "created_at"), ("role", "is_trusted"),
        transitions.each(
            role=transitions.any_of(_SET, transitions.both(_HANDED_OVER, becomes("role", "owner", "admin"))),
            is_trusted=transitions.any_of(_SET, transitions.both(_HANDED_OVER, becomes("is_trusted", True))),
        ),
        explained(["member.removed"]),
        title=("user__email",), names=("user__public_id",),
    ),
    Leaf(
        "labels", models.LabelSchema, "project", ("project_id", "version", "created_by_id", "created_at"),
        may_go=explained(["labels.change_undone"]), title=("version",),
        left_out={"audit_cutoff": _CUTOFFS, "reference_cutoff": _CUTOFFS},
    ),
    Leaf(
        "label", models.Label, "schema__project",
        ("schema_id", "lasting_id", "index", "name", "key", "colour", "definition", "examples"),
        may_go=explained(["labels.change_undone"]), title=("name",),
    ),
    Leaf(
        "label mapping", models.LabelMapping, "source__schema__project",
        ("source_id", "target_id", "keeps_gold", "keeps_probability"), may_go=explained(["labels.change_undone"]),
    ),
    Leaf(
        "guidelines", models.GuidelineVersion, "project",
        ("project_id", "version", "markdown", "created_by_id", "created_at"), title=("version",),
    ),
    Leaf(
        "upload", models.Upload, "project",
        ("public_id", "project_id", "file_name", "file", "file_sha256", "n_bytes", "created_by_id", "created_at"),
        ("deleted_at",), ends_once("deleted_at"), title=("public_id",),
    ),
    Leaf(
        "import", models.Import, "project",
        ("public_id", "project_id", "upload_id", "file_name", "file_sha256", "created_by_id", "created_at"),
        only=Q(state=_COMPLETE), title=("public_id",),
        left_out={"run_id": "of no figure", "options": "what was told to the reader", "state": "sealed once complete",
                  "cursor": _RECOUNTED, "n_items": _RECOUNTED, "n_revived": _RECOUNTED, "n_duplicates": _RECOUNTED,
                  "n_rejected": _RECOUNTED, "finished_at": "moves with each correction"},
    ),
    Leaf(
        "item", models.Item, "project",
        ("project_id", "source_id", "public_id", "ordinal", "modality", "content_hash", "replaces_id", "prn", "fold"),
        ("external_id", "withdrawn_at"),
        transitions.each(
            external_id=explained(["item.brought_back"], naming="public_id", also={"import.completed": "n_revived"}),
            withdrawn_at=explained(["items.withdrawn", "item.brought_back", "item.corrected"], naming="public_id",
                                   counts="n_items", also={"import.completed": "n_revived"}),
        ),
        source="source", title=("public_id",), names=("public_id",),
    ),
    Leaf(
        "metadata of item", models.ItemPayload, "item__project", ("metadata",),
        source="item__source", title=("item__public_id",),
        left_out={"payload": "verify compares it with the item's content hash"},
    ),
    Leaf(
        "round", models.Round, "project",
        ("project_id", "public_id", "index", "batch", "shares", "strategy", "scored_with_id", "seed", "opened_by_id",
         "opened_at"),
        ("state", "closed_by_id", "closed_at", "audit_cutoff", "reference_cutoff"), ends_once("closed_at"),
        title=("index",), left_out={"run_id": "of no figure", "closing_run_id": "of no figure"},
    ),
    Leaf(
        "draw", models.Draw, "project",
        ("project_id", "item_id", "round_id", "arm", "pi", "score", "reason", "created_at"),
        source="item__source", title=("arm", "item__public_id"),
    ),
    Leaf(
        "question", models.QueueEntry, "round__project",
        ("round_id", "item_id", "position", "overlap", "is_blind", "suggestion"), title=("item__public_id",),
        left_out={"n_taken": _RECOUNTED, "state": "follows from the answers"},
    ),
    Leaf(
        "lease", models.Lease, "entry__round__project",
        ("public_id", "entry_id", "annotator_id", "granted_at", "ended_at", "outcome"), ("revealed_at",),
        ends_once("revealed_at"), only=Q(ended_at__isnull=False), title=("public_id",),
        left_out={"expires_at": "moves while the lease is held", "shown_at": "moves while the lease is held"},
    ),
    Leaf(
        "answer", models.Annotation, "project",
        ("public_id", "project_id", "item_id", "entry_id", "annotator_id", "label_id", "skip_reason", "guidelines_id",
         "revision", "is_blind", "had_file", "suggestion", "is_flagged", "comment", "seconds", "price_micros",
         "idempotency_key", "created_at"),
        ("is_current", "is_counted"),
        transitions.each(is_current=_IS_CURRENT, is_counted=explained(_LABELS)),
        title=("public_id", "item__public_id"),
    ),
    Leaf(
        "gold", models.Gold, "project",
        ("project_id", "item_id", "label_id", "rule", "origin", "is_blind", "round_id", "created_at"),
        ("is_current",), _IS_CURRENT, explained(["labels.change_undone"]), source="item__source",
        title=("item__public_id",),
    ),
    Leaf(
        "decision", models.Adjudication, "project",
        ("public_id", "project_id", "item_id", "entry_id", "label_id", "reason", "is_blind", "had_file",
         "created_by_id", "created_at"),
        ("is_current",), _IS_CURRENT, title=("public_id", "item__public_id"),
    ),
    Leaf(
        "seen label", models.SeenLabel, "item__project", ("user_id", "item_id", "at"),
        title=("user__email", "item__public_id"),
    ),
    Leaf(
        "download", models.Download, "project", ("project_id", "user_id", "kind", "what", "last_ordinal", "at"),
        title=("user__email", "what"),
    ),
    Leaf(
        "prompt", models.PromptVersion, "project",
        ("project_id", "version", "annotator", "model", "schema_id", "guidelines_id", "parameters", "sha256",
         "created_at"),
        may_go=explained(["import.abandoned"]), title=("version",),
    ),
    Leaf(
        "prediction", models.Prediction, "prompt__project",
        ("item_id", "prompt_id", "status", "label_index", "probabilities", "label_mass", "n_input_tokens",
         "n_output_tokens", "cost_micros", "latency_seconds", "message", "reply", "attempt", "created_at"),
        ("is_current",), _IS_CURRENT, source="item__source", title=("item__public_id",),
    ),
    Leaf(
        "model", models.ModelVersion, "project",
        ("project_id", "public_id", "version", "schema_id", "prompt_id", "encoder", "config", "seed", "snapshot_file",
         "snapshot_sha256", "artefact_file", "artefact_sha256", "metrics", "created_at"),
        ("is_champion",),
        transitions.both(falls("is_champion"), explained(["model.trained"], where={"champion": True})),
        title=("version",), left_out={"run_id": "of no figure"},
    ),
    Leaf(
        "delivered version", models.DeliveredVersion, "project",
        ("project_id", "public_id", "version", "schema_id", "model_id", "prompt_id", "rule", "delivery",
         "last_ordinal", "n_pool", "n_in_a", "file", "file_sha256", "fingerprint", "sealed_head", "sealed_sequence",
         "frozen_at"),
        title=("version",),
    ),
    Leaf(
        "estimate", models.Estimate, "project",
        ("project_id", "delivered_version_id", "round_id", "estimand", "label_id", "value", "low", "high", "n",
         "n_unresolved", "n_had_file", "population", "method", "reason", "created_at"),
        title=("estimand", "delivered_version__version"),
    ),
    Leaf(
        "inputs of estimates", models.EstimateInputs, "delivered_version__project",
        ("delivered_version_id", "sha256", "created_at"), title=("delivered_version__version",),
        left_out={"content": "verify compares it with its checksum"},
    ),
    Leaf(
        "budget", models.Budget, "project", ("project_id", "kind"), ("cap_micros", "is_stopped"),
        transitions.each(
            cap_micros=explained(["budget.capped"], naming="kind", values=""),
            is_stopped=explained(["budget.stopped", "budget.resumed"], naming="kind"),
        ),
        title=("kind",), names=("kind",),
        left_out=dict.fromkeys(("reserved_micros", "settled_micros", "written_off_micros"), _RECOUNTED),
    ),
    Leaf(
        "ledger entry", models.LedgerEntry, "budget__project",
        ("public_id", "budget_id", "run_attempt", "prompt_id", "item_id", "lease_id", "reserved_micros", "created_at"),
        ("state", "final_micros", "n_input_tokens", "n_output_tokens", "reason", "ended_at"), ends_once("ended_at"),
        title=("public_id",), left_out={"run_id": "of no figure"},
    ),
    Leaf(
        "export", models.Export, "project",
        ("public_id", "project_id", "delivered_version_id", "folder", "manifest", "manifest_sha256", "n_rows", "files",
         "created_by_id", "created_at"),
        title=("public_id",), left_out={"run_id": "of no figure"},
    ),
)  # fmt: skip

SITE: tuple[Leaf, ...] = (
    Leaf("site event", models.Event, "", PROJECT[0].fixed, title=("kind", "at")),
    Leaf(
        "account", models.User, "", ("public_id", "is_simulated", "created_at"),
        ("email", "is_active", "is_site_owner", "proven_at", "vouched_at", "vouched_by_id"),
        transitions.each(
            email=explained(["address.changed"], acting="public_id"),
            is_active=explained(["account.deactivated", "account.reactivated"], naming="public_id"),
            is_site_owner=explained(["site_owner.made"], naming="public_id"),
            proven_at=explained(["address.proven", "address.unproven"], acting="public_id"),
            **dict.fromkeys(("vouched_at", "vouched_by_id"),
                            explained(["account.vouched", "account.vouch_taken_back"], naming="public_id")),
        ),
        title=("email",), names=("public_id",),
        left_out={"password": "secret", "last_login": "no fact", "name": "the person's own",
                  "language": "the person's own", "time_zone": "the person's own"},
    ),
    Leaf(
        "connection", models.Connection, "", ("public_id", "created_by_id", "created_at"),
        (*_OF_SERVER, "key_hint", "n_alternatives", "is_active"),
        transitions.each(
            **dict.fromkeys(_OF_SERVER, explained(["connection.changed"], naming="public_id")),
            key_hint=explained(["connection.changed", "site.restored"], naming="public_id"),
            n_alternatives=explained(["connection.changed", "connection.tested"], naming="public_id"),
            is_active=explained(["connection.activated", "connection.deactivated"], naming="public_id"),
        ),
        title=("name",), names=("public_id",),
        left_out={"key_encrypted": "secret, and encrypted anew when keys rotate"},
    ),
)  # fmt: skip

# All tables; that of events, which both chains hold, once.
GROWING = (*PROJECT, *SITE[1:])

NOT_SEALED: Mapping[type[Model], str] = {
    models.Draft: "not yet an answer",
    models.RejectedRow: "verify counts it again; made no item",
    models.Run: "says how work went on; what it made is sealed",
    models.RunLine: "says how work went on; what it made is sealed",
    models.Invitation: "an event says who was invited, and who came",
    models.ApiToken: "an event says what was made and revoked",
    models.AddressLink: "events say which address was proven or changed",
    models.PasswordReset: "an event says what was made and used",
    models.SignInFailure: "kept for minutes",
    models.UploadReservation: "kept for a day",
    models.Heartbeat: "says that a worker lives, or that a write works",
    models.IdempotentRequest: "kept for a day",
    models.Seal: "the chain itself",
    models.SealedRows: "the chain itself",
}


def of(project: Project | None) -> tuple[Leaf, ...]:
    """The leaves of a project's chain, or of the site's for None."""
    return SITE if project is None else PROJECT
