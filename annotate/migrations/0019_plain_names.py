"""Fields get the names of the field's terms in code; columns and data stay as they are."""

from django.db import migrations, models

ACTIONS = [("", "None"), ("pause", "Pause"), ("cancel", "Cancel")]

# (model, old name, new name, the field under its old column)
RENAMED = [
    ("item", "u", "prn", models.FloatField(db_column="u")),
    ("project", "audit_mark", "audit_cutoff", models.FloatField(blank=True, db_column="audit_mark", null=True)),
    (
        "project",
        "reference_mark",
        "reference_cutoff",
        models.FloatField(blank=True, db_column="reference_mark", null=True),
    ),
    ("round", "audit_mark", "audit_cutoff", models.FloatField(db_column="audit_mark", null=True)),
    ("round", "reference_mark", "reference_cutoff", models.FloatField(db_column="reference_mark", null=True)),
    (
        "run",
        "wish",
        "requested_action",
        models.CharField(blank=True, choices=ACTIONS, db_column="wish", default="", max_length=10),
    ),
    ("run", "rung_at", "notified_at", models.DateTimeField(db_column="rung_at", null=True)),
    ("deliveredversion", "chooser", "rule", models.CharField(db_column="chooser", max_length=20)),
]


def renamed(model, old, new, field):
    return [
        migrations.AlterField(model_name=model, name=old, field=field),
        migrations.RenameField(model_name=model, old_name=old, new_name=new),
    ]


class Migration(migrations.Migration):
    dependencies = [("annotate", "0018_pool_revisions_so_far")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(model_name="item", name="item_u_in_unit_interval"),
                *(operation for one in RENAMED for operation in renamed(*one)),
                migrations.AddConstraint(
                    model_name="item",
                    constraint=models.CheckConstraint(
                        condition=models.Q(("prn__gte", 0), ("prn__lt", 1)), name="item_u_in_unit_interval"
                    ),
                ),
            ]
        )
    ]
