"""Every project has its two budgets, and what people were paid so far stands in the ledger."""

from django.db import migrations
from django.db.models import Sum


def open_budgets(apps, schema_editor):
    Project, Budget = apps.get_model("annotate", "Project"), apps.get_model("annotate", "Budget")
    Annotation, LedgerEntry = apps.get_model("annotate", "Annotation"), apps.get_model("annotate", "LedgerEntry")
    for project in Project.objects.iterator():
        Budget.objects.create(project=project, kind="machine")
        paid = Annotation.objects.filter(project=project, price_micros__gt=0)
        total = paid.aggregate(total=Sum("price_micros"))["total"] or 0
        human = Budget.objects.create(project=project, kind="human", settled_micros=total)
        LedgerEntry.objects.bulk_create(
            (
                LedgerEntry(
                    budget=human,
                    item_id=answer.item_id,
                    reserved_micros=answer.price_micros,
                    final_micros=answer.price_micros,
                    state="settled",
                    reason="before there was a ledger",
                    created_at=answer.created_at,
                    ended_at=answer.created_at,
                )
                for answer in paid.order_by("pk").iterator()
            ),
            batch_size=500,
        )


def close_budgets(apps, schema_editor):
    apps.get_model("annotate", "LedgerEntry").objects.all().delete()
    apps.get_model("annotate", "Budget").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("annotate", "0007_services")]
    operations = [migrations.RunPython(open_budgets, close_budgets)]
