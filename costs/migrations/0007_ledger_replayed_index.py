"""What budgets leave out is found without reading what they count."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0006_ledger_labels_index")]

    operations = [
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                fields=["organisation_id", "at"],
                condition=models.Q(("origin", "demonstration")),
                name="ledger_replayed",
            ),
        ),
    ]
