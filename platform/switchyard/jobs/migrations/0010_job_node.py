from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0009_probe_job")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="node",
            field=models.CharField(
                blank=True,
                default="",
                help_text="The machine that its worker says it works on: the job pays its rate.",
                max_length=63,
            ),
            preserve_default=False,
        ),
    ]
