"""What figures were computed from is never changed: the database refuses to update it."""

from django.db import migrations

_MESSAGE = "inputs of estimates never change"
_TABLE = "annotate_estimateinputs"

SQLITE = [
    f"CREATE TRIGGER estimate_inputs_no_update BEFORE UPDATE ON {_TABLE} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END"
]
POSTGRESQL = [
    "CREATE FUNCTION estimate_inputs_stay() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_MESSAGE}'; END $$",
    f"CREATE TRIGGER estimate_inputs_no_update BEFORE UPDATE ON {_TABLE} "
    "FOR EACH STATEMENT EXECUTE FUNCTION estimate_inputs_stay()",
]
UNDO = {
    "sqlite": ["DROP TRIGGER estimate_inputs_no_update"],
    "postgresql": [f"DROP TRIGGER estimate_inputs_no_update ON {_TABLE}", "DROP FUNCTION estimate_inputs_stay()"],
}


def forbid(apps, schema_editor):
    for statement in {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def allow(apps, schema_editor):
    for statement in UNDO[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0032_inputs_of_estimates")]
    operations = [migrations.RunPython(forbid, allow)]
