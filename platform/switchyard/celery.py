"""The Celery application: queues `default` and `training`; a message is only a wake-up for a job row."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
app = Celery("switchyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """A child of the pool has no work without its master: the kernel ends it when the master is gone."""
    from signal import SIGKILL

    from switchyard.supervisor.orphans import die_with_parent

    die_with_parent(SIGKILL)
