"""The event log refuses updates and deletions in the database itself (I-5 in docs/invariants.md)."""

from django.db import migrations

SQLITE = {
    "update": "CREATE TRIGGER event_no_update BEFORE UPDATE ON annotate_event "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
    "delete": "CREATE TRIGGER event_no_delete BEFORE DELETE ON annotate_event "
    "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END",
}
POSTGRESQL = {
    "function": "CREATE FUNCTION event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$",
    "trigger": "CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON annotate_event "
    "FOR EACH STATEMENT EXECUTE FUNCTION event_append_only()",
}
UNDO = {
    "sqlite": ["DROP TRIGGER event_no_update", "DROP TRIGGER event_no_delete"],
    "postgresql": ["DROP TRIGGER event_append_only ON annotate_event", "DROP FUNCTION event_append_only()"],
}


def forbid(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]
    for statement in statements.values():
        schema_editor.execute(statement)


def allow(apps, schema_editor):
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0001_initial")]
    operations = [migrations.RunPython(forbid, allow)]
