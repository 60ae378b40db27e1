"""Labels by hour: the table, and what the ledger holds of them so far."""

from datetime import UTC
from typing import Any

from django.db import migrations, models
from django.db.models import Case, Count, F, Q, Sum, When
from django.db.models.functions import TruncHour

NAMES = ["lob", "workload", "purpose", "origin"]


def fill(apps: Any, schema_editor: Any) -> None:
    entries = apps.get_model("costs", "LedgerEntry").objects.filter(
        attempt__isnull=True, purpose__in=("label", "review", "feedback")
    )
    made = apps.get_model("costs", "LabelHour")
    amount = Case(When(reverses__isnull=True, then=F("amount_nusd")), default=-F("amount_nusd"))
    lines = Count("pk") - 2 * Count("pk", filter=Q(reverses__isnull=False))
    rows = (
        entries.annotate(start=TruncHour("at", tzinfo=UTC))
        .order_by()
        .values("organisation_id", "start", *NAMES)
    )
    made.objects.bulk_create(
        [
            made(
                lines=row["n"], amount_nusd=row["nusd"],
                **{name: row[name] for name in ("organisation_id", "start", *NAMES)},
            )
            for row in rows.annotate(n=lines, nusd=Sum(amount))
        ],
        batch_size=500,
    )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("costs", "0007_ledger_replayed_index")]

    operations = [
        migrations.CreateModel(
            name="LabelHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("organisation_id", models.BigIntegerField()),
                ("start", models.DateTimeField()),
                ("lob", models.CharField(max_length=63)),
                ("workload", models.CharField(blank=True, max_length=63)),
                ("purpose", models.CharField(max_length=12)),
                ("origin", models.CharField(default="live", max_length=15)),
                ("lines", models.BigIntegerField(default=0, help_text="Less those that were reversed.")),
                ("amount_nusd", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation_id", "start", "lob", "workload", "purpose", "origin"),
                        name="one_row_of_labels_an_hour",
                    )
                ],
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
