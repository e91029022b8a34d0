"""Existing projects are older than their chain of seals; seals are append-only, like the event log (I-5)."""

from django.db import migrations

TABLES = ("annotate_seal", "annotate_sealedrows")
_MESSAGE = "seals are append-only"


def _sqlite(table):
    return {
        f"{table}_no_{verb.lower()}": f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END"
        for verb in ("UPDATE", "DELETE")
    }


SQLITE = {name: statement for table in TABLES for name, statement in _sqlite(table).items()}
POSTGRESQL = {
    "function": "CREATE FUNCTION seals_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_MESSAGE}'; END $$",
    **{
        table: f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION seals_append_only()"
        for table in TABLES
    },
}
UNDO = {
    "sqlite": [f"DROP TRIGGER {name}" for name in SQLITE],
    "postgresql": [
        *(f"DROP TRIGGER {table}_append_only ON {table}" for table in TABLES),
        "DROP FUNCTION seals_append_only()",
    ],
}


def forbid(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]
    for statement in statements.values():
        schema_editor.execute(statement)


def allow(apps, schema_editor):
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def note_age(apps, schema_editor):
    apps.get_model("annotate", "Project").objects.update(is_sealed_from_start=False)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0029_seals")]
    operations = [
        migrations.RunPython(note_age, migrations.RunPython.noop),
        migrations.RunPython(forbid, allow),
    ]
