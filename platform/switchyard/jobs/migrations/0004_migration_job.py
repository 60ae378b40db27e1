"""A kind of job: moving a live deployment to another backend."""

from django.db import migrations, models

KINDS = [
    "fine_tune", "bias_audit", "evaluation", "rollup", "history", "compression", "batch", "verify_books", "migration",
]  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_verify_books")]

    operations = [
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(choices=[(kind, kind) for kind in KINDS], max_length=20),
        )
    ]
