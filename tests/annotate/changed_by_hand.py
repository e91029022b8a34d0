"""Two projects with everything in them, sealed, and changes that somebody with the database's password makes."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.db import connection

from annotate import projects, rounds
from annotate.dataset import export
from annotate.imports import ingest
from annotate.labeling import adjudication, leases
from annotate.learning import delivery, estimation, training
from annotate.models import Label, LabelMapping, Lease, QueueEntry
from annotate.models.base import database_now
from annotate.models.project import Arm
from annotate.money import budgets
from annotate.seals import sealing
from tests.annotate.asking import answer, change, change_labels
from tests.factories import (
    answer_round,
    make_connection,
    make_member,
    make_project,
    make_user,
    owner_of,
    rows_of,
    write_jsonl,
)

TRIGGERS = ("0002_append_only_events", "0030_seals_so_far", "0033_inputs_stay")


@dataclass(frozen=True)
class Change:
    """SQL with the project's facts as parameters, and the words by which `verify` names what it hit."""

    name: str
    on: str  # "settled", "mid" or both
    statements: tuple[str, ...]
    where: str


def settled(folder):
    """Two closed rounds, trained, delivered, estimated, exported and paid; then something changed."""
    project = make_project(human_price_micros=1_000, target_accuracy=0.9, audit_target=3)
    olga = owner_of(project)
    projects.set_guidelines(project=project, markdown="Say yes.", by=olga)
    budgets.set_cap(project=project, kind="human", cap_micros=1_000_000, by=olga)
    rows = [{**row, "machine": "no" if i % 4 == 0 else "yes", "shop": f"s{i}"} for i, row in enumerate(rows_of(60))]
    path = write_jsonl(folder / "settled.jsonl", rows)
    ingest.import_items(project=project, path=path, by=olga, silver_field="machine")
    sealing.seal(project)
    _round(project, 20)
    _reveal(project)
    training.train(project=project, by=olga)
    estimation.estimate(project=project, by=olga)
    frozen = delivery.current(project=project, by=olga)
    export.export(delivered=frozen.row, by=olga, directory=folder / "export", formats=["jsonl"])
    sealing.seal(project)
    _round(project, 5)  # the figures are not those of the version in force any more
    sealing.seal(project)
    return project


def _round(project, batch):
    rounds.draw_round(project=project, batch=batch, by=owner_of(project))
    answer_round(project)
    rounds.close_round(project=project, by=owner_of(project))


def mid_round(folder):
    """Labels once renamed; an open round of two answers each, with disputes, a decision and leases."""
    project = make_project(overlap=2, gold_rule="agree_k", agree_k=2, human_price_micros=1_000)
    ann, ravi = make_member(project), make_member(project, "Ravi", role="reviewer")
    make_member(project, "Newcomer", is_trusted=False)
    budgets.set_cap(project=project, kind="human", cap_micros=1_000_000, by=owner_of(project))
    rows = [{**row, "machine": "yes", "shop": f"m{i}"} for i, row in enumerate(rows_of(40, "mid"))]
    path = write_jsonl(folder / "mid.jsonl", rows)
    ingest.import_items(project=project, path=path, by=owner_of(project), silver_field="machine")
    change_labels(project, ["yes", "no", ("perhaps", ("maybe",))])
    projects.set_guidelines(project=project, markdown="Think.", by=owner_of(project))
    current = rounds.draw_round(project=project, batch=10, by=owner_of(project))
    first, second, third, fourth, *_ = current.queue.order_by("position")
    for entry, other in ((first, "yes"), (second, "no"), (third, "yes")):
        answer(entry, ann, "yes")
        answer(entry, ravi, other)
    change(third, ravi, "yes", comment="The same, with a remark.")
    answer(fourth, ann, "no")
    leases.lease(entry=fourth, annotator=ravi)
    adjudication.adjudicate(
        project=project, round_index=1, item=second.item.public_id,
        label=Label.objects.get(schema=projects.current_schema(project), name="no"), reason="It says no.",
        by=owner_of(project),
    )  # fmt: skip
    _reveal(project)
    sealing.seal(project)
    return project


def _reveal(project):
    """As if the first answered question had shown the machine's label afterwards."""
    lease = Lease.objects.filter(entry__round__project=project, ended_at__isnull=False).order_by("pk").first()
    Lease.objects.filter(pk=lease.pk).update(revealed_at=database_now())


def site():
    """Somebody without rights, and a server with prices."""
    make_user("Sam")
    return make_connection(by=make_user("Sara", is_site_owner=True))


def facts(project, server) -> dict[str, Any]:
    """Keys and names of one row of each kind, for statements and for what `verify` must say."""
    gold = project.gold.current().select_related("item", "label__schema").order_by("pk").first()
    said = project.annotations.filter(item=gold.item, label=gold.label).order_by("pk").first()
    schema = projects.current_schema(project)
    draw = project.draws.filter(arm=Arm.AUDIT).select_related("item").first()
    undrawn = project.items.filter(draws__isnull=True).first()
    entry = QueueEntry.objects.filter(round__project=project).select_related("item").order_by("pk").first()
    lease = Lease.objects.filter(entry__round__project=project, ended_at__isnull=False).order_by("pk").first()
    prompt = project.prompts.order_by("pk").last()
    silver = prompt.predictions.select_related("item").order_by("pk").first()
    event = project.events.filter(kind="round.opened").first() or project.events.order_by("pk").last()
    paid = project.budgets.get(kind="human").entries.filter(state="settled").select_related("item").first()
    member = project.members.order_by("pk").last()
    model, figure = project.model_versions.first(), project.estimates.filter(estimand="delivered").first()
    decision = project.adjudications.first()
    stranger = make_user("Smuggled")
    again = project.gold.current().exclude(rule="adjudicated").select_related("item").order_by("pk").last()
    waiting = QueueEntry.objects.filter(round__project=project).select_related("item").order_by("pk").last()
    decided = decision and decision.entry
    return {
        "waiting": waiting.pk, "waiting_item": waiting.item.public_id,
        "decided": decided and decided.pk, "decided_item": decided and decided.item.public_id,
        "project": project.pk, "slug": project.slug, "now": database_now(),
        "again": again.pk, "again_item": again.item.public_id, "again_item_pk": again.item_id,
        "gold": gold.pk, "gold_item": gold.item.public_id, "answer": said.pk, "answer_id": said.public_id,
        "label": gold.label_id, "other": gold.label.schema.labels.exclude(pk=gold.label_id).first().pk,
        "lasting": schema.pk, "no": schema.labels.get(name="no").pk,
        "mapping": (row := LabelMapping.objects.filter(source__schema__project=project).first()) and row.pk,
        "guidelines": project.guidelines.last().pk,
        "draw": draw.pk, "draw_item": draw.item.public_id, "draw_item_pk": draw.item_id,
        "undrawn": undrawn.pk, "undrawn_item": undrawn.public_id,
        "entry": entry.pk, "entry_item": entry.item.public_id, "round": entry.round_id,
        "lease": lease.pk, "lease_id": lease.public_id, "prompt": prompt.pk, "prompt_version": prompt.version,
        "silver": silver.pk, "silver_item": silver.item.public_id, "event": event.pk, "kind": event.kind,
        "paid": paid.pk, "paid_id": paid.public_id, "member": member.pk, "person": member.user.email,
        "source": project.imports.first().pk, "source_id": project.imports.first().public_id,
        "stranger": stranger.pk, "server": server.pk, "server_name": server.name,
        "model": model and model.pk, "figure": figure and figure.pk,
        "delivered": figure and figure.delivered_version_id,
        "version": figure and figure.delivered_version.version,
        "export": (one := project.exports.first()) and one.pk, "export_id": one and one.public_id,
        "decision": decision and decision.pk, "decision_id": decision and decision.public_id,
    }  # fmt: skip


def make(parameters, *statements):
    """Run SQL as whoever owns the database does: without the triggers that refuse it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else triggers of pending events could not be dropped
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for name in TRIGGERS:
            for statement in import_module(f"annotate.migrations.{name}").UNDO[connection.vendor]:
                cursor.execute(statement)
        for statement in statements:
            used = {key: value for key, value in parameters.items() if f"%({key})s" in statement}
            cursor.execute(statement, used)


def _update(table, what, key, where, on="both", name=""):
    statement = f"UPDATE annotate_{table} SET {what} WHERE id = %({key})s"  # noqa: S608
    return Change(name or f"{table}: {what}", on, (statement,), where)


def _delete(table, key, where, on="both", name="", first=()):
    statement = f"DELETE FROM annotate_{table} WHERE id = %({key})s"  # noqa: S608
    return Change(name or f"{table} deleted", on, (*first, statement), where)


CHANGES = [
    _update("estimate", "value = 0.999, high = 1.0", "figure", "estimate delivered {version}", "settled"),
    _update("estimate", "low = 0.5", "figure", "estimate delivered {version}", "settled"),
    _update("estimate", "n = n + 100", "figure", "estimate delivered {version}", "settled"),
    _delete("estimate", "figure", "estimate (row {figure}) is gone", "settled"),
    Change("inputs of estimates", "settled",
           ("UPDATE annotate_estimateinputs SET sha256 = '0' WHERE delivered_version_id = %(delivered)s",),
           "inputs of estimates {version}"),
    Change("answer and gold flipped together", "both",
           ("UPDATE annotate_annotation SET label_id = %(other)s WHERE id = %(answer)s",
            "UPDATE annotate_gold SET label_id = %(other)s WHERE id = %(gold)s"),
           "answer {answer_id} {gold_item} (row {answer}) was changed"),
    _update("annotation", "label_id = %(other)s", "answer", "answer {answer_id} {gold_item}"),
    _update("annotation", "created_at = %(now)s", "answer", "answer {answer_id} {gold_item}"),
    _update("annotation", "is_blind = NOT is_blind", "answer", "answer {answer_id} {gold_item}"),
    _update("annotation", "is_counted = NOT is_counted", "answer", "answer {answer_id} {gold_item}"),
    _update("annotation", "is_current = NOT is_current", "answer", "0 current answers to item {gold_item}"),
    _update("annotation", "revision = revision + 1", "answer", "answer {answer_id} {gold_item}"),
    _delete("annotation", "answer", "answer (row {answer}) is gone"),
    _update("gold", "label_id = %(other)s", "gold", "gold {gold_item}"),
    _update("gold", "is_blind = NOT is_blind", "gold", "gold {gold_item}"),
    _update("gold", "rule = 'imported'", "gold", "gold {gold_item}"),
    _update("gold", "is_current = NOT is_current", "gold", "the gold of item {gold_item}"),
    Change("gold ended of an answer given again", "mid",
           ("UPDATE annotate_gold SET is_current = false WHERE id = %(again)s",),
           "the gold of item {again_item} (row {again}) counts no more"),
    Change("gold ended in the first place", "mid",
           ("DELETE FROM annotate_gold WHERE id = %(again)s",),
           "the answers to item {again_item} of round 1 agree, and it has no gold"),
    Change("gold and its question ended together", "mid",
           ("UPDATE annotate_gold SET is_current = false WHERE id = %(again)s",
            "UPDATE annotate_queueentry SET state = 'unresolved' WHERE item_id = %(again_item_pk)s"),
           "(item {again_item}) is unresolved, which does not follow"),
    _delete("gold", "gold", "gold (row {gold}) is gone"),
    _update("lease", "revealed_at = NULL", "lease", "lease {lease_id}"),
    _update("lease", "revealed_at = granted_at", "lease", "lease {lease_id}"),
    _update("lease", "outcome = 'expired'", "lease", "lease {lease_id}"),
    _update("label", "name = 'nay'", "no", "label nay"),
    _update("label", "definition = 'anything'", "no", "label no"),
    _update("labelmapping", "keeps_gold = NOT keeps_gold", "mapping", "label mapping (row {mapping})", "mid"),
    _update("guidelineversion", "markdown = 'Say no.'", "guidelines", "guidelines"),
    Change("guidelines inserted", "both",
           ("INSERT INTO annotate_guidelineversion (project_id, version, markdown, created_at) "
            "VALUES (%(project)s, 77, 'Say no.', %(now)s)",), "no event says how version 77 of the guidelines"),
    _update("member", "is_trusted = NOT is_trusted", "member", "member {person}", "mid"),
    _update("member", "role = 'admin'", "member", "member {person}"),
    Change("member inserted", "both",
           ("INSERT INTO annotate_member (project_id, user_id, role, is_trusted, created_at) "
            "VALUES (%(project)s, %(stranger)s, 'owner', true, %(now)s)",), "no event says how smuggled"),
    _delete("member", "member", "member (row {member}) is gone"),
    _update("project", "human_price_micros = 5", "project", "project {slug}"),
    _update("project", "overlap = 3", "project", "project {slug}"),
    _update("project", "agree_k = 1", "project", "project {slug}"),
    _update("project", "suggestion_policy = '{}'", "project", "project {slug}"),
    _update("project", "target_accuracy = 0.5", "project", "project {slug}"),
    _update("project", "audit_target = 7", "project", "project {slug}"),
    _update("connection", "input_price_micros = 1", "server", "connection {server_name}"),
    _update("connection", "base_url = 'https://evil.example.org'", "server", "connection {server_name}"),
    Change("cap", "both", ("UPDATE annotate_budget SET cap_micros = 9000000 WHERE project_id = %(project)s",),
           "budget human"),
    Change("kill switch", "both", ("UPDATE annotate_budget SET is_stopped = true WHERE project_id = %(project)s",),
           "budget human"),
    _update("ledgerentry", "final_micros = final_micros - 1", "paid", "ledger entry {paid_id}"),
    _update("ledgerentry", "state = 'released', final_micros = 0", "paid", "ledger entry {paid_id}"),
    _delete("ledgerentry", "paid", "ledger entry (row {paid}) is gone"),
    _delete("draw", "draw", "draw (row {draw}) is gone"),
    _update("draw", "arm = 'active'", "draw", "draw active {draw_item}"),
    _update("draw", "pi = 0.5", "draw", "draw audit {draw_item}"),
    Change("draw inserted", "both",
           ("INSERT INTO annotate_draw (project_id, item_id, round_id, arm, reason, created_at) VALUES "
            "(%(project)s, %(undrawn)s, %(round)s, 'audit', 'by hand', %(now)s)",), "{undrawn_item}"),
    _update("queueentry", "is_blind = NOT is_blind", "entry", "question {entry_item}"),
    _update("queueentry", "overlap = overlap + 1", "entry", "question {entry_item}"),
    *(_update("queueentry", f"state = '{state}'", "entry", f"(item {{entry_item}}) is {state}, which does not")
      for state in ("open", "skipped", "unresolved")),
    Change("open question answered", "mid",
           ("UPDATE annotate_queueentry SET state = 'answered' WHERE id = %(waiting)s",),
           "(item {waiting_item}) is answered, which does not follow"),
    Change("open question unresolved", "mid",
           ("UPDATE annotate_queueentry SET state = 'unresolved' WHERE id = %(waiting)s",),
           "(item {waiting_item}) is unresolved, which does not follow"),
    Change("decided question open", "mid",
           ("UPDATE annotate_queueentry SET state = 'open' WHERE id = %(decided)s",),
           "(item {decided_item}) is open, which does not follow"),
    _update("round", "seed = seed + 1", "round", "round 1"),
    _update("round", "shares = '{}'", "round", "round 1"),
    _update("modelversion", "is_champion = NOT is_champion", "model", "model 1", "settled"),
    _update("modelversion", "metrics = '{}'", "model", "model 1", "settled"),
    _update("modelversion", "config = '{}'", "model", "model 1", "settled"),
    _update("deliveredversion", "chooser = 'llm2'", "delivered", "delivered version {version}", "settled"),
    _update("deliveredversion", "fingerprint = 'f'", "delivered", "delivered version {version}", "settled"),
    _update("export", "manifest_sha256 = '0'", "export", "export {export_id}", "settled"),
    _update("promptversion", "parameters = '[1]'", "prompt", "prompt {prompt_version}"),
    _update("promptversion", "model = 'gpt'", "prompt", "prompt {prompt_version}"),
    _update("prediction", "label_index = 2", "silver", "prediction {silver_item}"),
    _update("prediction", "label_mass = 0.25", "silver", "prediction {silver_item}"),
    _delete("prediction", "silver", "prediction (row {silver}) is gone"),
    Change("metadata", "both",
           ("UPDATE annotate_itempayload SET metadata = '{\"shop\": \"x\"}' WHERE item_id = %(undrawn)s",),
           "metadata of item {undrawn_item}"),
    _update("item", "external_id = 'other'", "undrawn", "item {undrawn_item}"),
    _update("item", "withdrawn_at = %(now)s", "undrawn", "item {undrawn_item}"),
    _update("item", "u = 0.5", "undrawn", "item {undrawn_item}"),
    _update("item", "fold = CASE WHEN fold = 0 THEN 1 ELSE 0 END", "undrawn", "item {undrawn_item}"),
    Change("content", "both",
           ("UPDATE annotate_itempayload SET payload = '{\"text\": \"x\"}' WHERE item_id = %(undrawn)s",),
           "item {undrawn_item}: its content does not have its hash"),
    _update("import", "file_sha256 = '0'", "source", "import {source_id}"),
    _update("adjudication", "reason = 'A coin said so.'", "decision", "decision {decision_id}", "mid"),
    _update("adjudication", "label_id = %(label)s", "decision", "decision {decision_id}", "mid"),
    _update("event", "data = '{}'", "event", "event {kind}"),
    _delete("event", "event", "event (row {event}) is gone"),
    Change("event log deleted", "both", ("DELETE FROM annotate_event WHERE project_id = %(project)s",),
           "event (row {event}) is gone"),
    Change("seal deleted", "settled",
           ("DELETE FROM annotate_sealedrows WHERE seal_id IN "
            "(SELECT id FROM annotate_seal WHERE project_id = %(project)s AND sequence = 2)",
            "DELETE FROM annotate_seal WHERE project_id = %(project)s AND sequence = 2"),
           "seal 2 of {slug} is gone"),
    Change("seal written anew", "settled",
           ("UPDATE annotate_seal SET n_rows = n_rows + 1 WHERE project_id = %(project)s AND sequence = 1",),
           "seal 1 of {slug} does not follow"),
    Change("batch of a seal changed", "settled",
           ("UPDATE annotate_sealedrows SET leaf = 'lease' WHERE leaf = 'answer' AND seal_id IN "
            "(SELECT id FROM annotate_seal WHERE project_id = %(project)s AND sequence = 2)",),
           "seal 2 of {slug} does not fit what it seals"),
    Change("account made site owner", "both",
           ("UPDATE annotate_user SET is_site_owner = true WHERE email LIKE 'sam%%'",), "account sam"),
]  # fmt: skip
