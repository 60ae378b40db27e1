"""Triggers that refuse UPDATE and DELETE of ledger rows, in SQLite and PostgreSQL."""

from django.db import migrations

from costs import triggers


def install(apps, schema_editor):
    triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("costs", "0002_initial")]

    operations = [migrations.RunPython(install, remove)]
