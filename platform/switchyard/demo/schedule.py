"""What beat sends and how often; rows in the database, so an operator can change them in the admin."""

from __future__ import annotations

from dataclasses import dataclass

from django_celery_beat.models import IntervalSchedule, PeriodicTask


@dataclass(frozen=True)
class Beat:
    name: str
    task: str
    every: int
    period: str  # seconds, minutes, hours, days


SCHEDULE: tuple[Beat, ...] = ()


def ensure_schedule() -> int:
    """Rows created; one that an operator changed or switched off stays as it is."""
    created = 0
    for beat in SCHEDULE:
        interval, _ = IntervalSchedule.objects.get_or_create(every=beat.every, period=beat.period)
        _, new = PeriodicTask.objects.get_or_create(
            name=beat.name, defaults={"task": beat.task, "interval": interval}
        )
        created += new
    return created
