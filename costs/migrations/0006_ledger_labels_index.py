"""Sums of labels by workload, without reading the answers' lines."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0005_partitioned_books")]

    operations = [
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                fields=["organisation_id", "at", "lob", "workload", "purpose", "amount_nusd", "reverses", "attempt"],
                condition=models.Q(("attempt__isnull", True)),
                name="ledger_labels",
            ),
        ),
    ]
