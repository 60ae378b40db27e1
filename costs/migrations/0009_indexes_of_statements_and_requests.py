"""What statements and the requests behind a figure are found by, without reading everybody's rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("costs", "0008_labelhour")]

    operations = [
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(fields=["workload", "at"], name="attempt_workload_at"),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                fields=["organisation_id", "at"],
                condition=models.Q(("memo__contains", "late for ")),
                name="ledger_late",
            ),
        ),
        migrations.AddIndex(
            model_name="accounthour",
            index=models.Index(fields=["organisation_id", "account", "start"], name="account_hours"),
        ),
    ]
