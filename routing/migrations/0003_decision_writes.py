"""Decision records are written by the ten thousands a second: their JSON is compressed by lz4 where PostgreSQL has it (its own
way costs as much as all the indexes together), and indexes for LIKE on ids, which nothing asks for, are gone."""

from django.db import migrations

TABLE = "routing_decisionrecord"


def lighten(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
        row = cursor.fetchone()
        if row and row[0]:
            cursor.execute(f"ALTER TABLE {TABLE} ALTER COLUMN detail SET COMPRESSION lz4")
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef LIKE %s", [TABLE, "%varchar_pattern_ops%"]
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):
    dependencies = [("routing", "0002_initial")]

    operations = [migrations.RunPython(lighten, migrations.RunPython.noop)]
