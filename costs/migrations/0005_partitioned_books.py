"""Monthly partitions in PostgreSQL, keeping every row; balances by account and hour, kept by triggers on both engines."""

import django.db.models.deletion
from django.db import migrations, models

from costs import triggers
from costs.books import partitions


def convert(apps, schema_editor):
    partitions.convert(schema_editor.connection)
    triggers.install(schema_editor.connection)
    triggers.rebuild_balances(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("costs", "0004_money_step")]

    operations = [
        # No query asks by side alone, and every index costs ingestion.
        migrations.RemoveIndex(model_name="attempt", name="attempt_side_at"),
        migrations.AlterField(
            model_name="ledgerentry",
            name="reverses",
            field=models.ForeignKey(
                blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="reversed_by", to="costs.ledgerentry",
            ),
        ),
        migrations.RunPython(convert, migrations.RunPython.noop),
    ]
