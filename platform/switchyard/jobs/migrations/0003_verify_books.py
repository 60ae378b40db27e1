"""A kind of job: the check of the books."""

from django.db import migrations, models

KINDS = [
    "fine_tune", "bias_audit", "evaluation", "rollup", "history", "compression", "batch", "verify_books",
]  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_initial")]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(choices=[(kind, kind) for kind in KINDS], max_length=20),
        )
    ]
