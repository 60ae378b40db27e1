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


SCHEDULE: tuple[Beat, ...] = (
    Beat("money: bring the roll-ups up", "costs.refresh_rollups", 1, "hours"),
    Beat("money: bill the nodes' finished hours", "costs.close_intervals", 10, "minutes"),
    Beat("money: bill late work of the last month", "costs.close_late_work", 1, "days"),
    Beat("money: give back what crashed calls reserved", "costs.sweep_leases", 30, "seconds"),
    Beat("money: budgets' counters and alerts", "costs.check_budgets", 15, "seconds"),
    Beat("money: counters of applications and keys", "costs.rebuild_counters", 5, "minutes"),
    Beat("money: carry over what periods left", "costs.carry_budgets", 1, "minutes"),
    Beat("money: deployments without a price", "costs.check_prices", 5, "minutes"),
    Beat("money: send alerts", "costs.send_alerts", 15, "seconds"),
    Beat("money: hold yesterday's bills against the books", "costs.reconcile_bills", 1, "days"),
    Beat("money: what the month will come to", "costs.make_forecasts", 10, "minutes"),
    Beat("money: days that stand out", "costs.find_anomalies", 10, "minutes"),
    Beat("money: hours that stand out", "costs.find_bursts", 5, "minutes"),
    Beat("money: verify the books", "costs.verify_books", 1, "days"),
    Beat("money: partitions and periods ahead of time", "costs.prepare_books", 1, "days"),
    Beat("jobs: re-queue what stands still", "modelhub.reap", 1, "minutes"),
    Beat("files: delete what was kept long enough", "modelhub.purge_files", 1, "hours"),
    Beat("responses: delete what was kept long enough", "gateway.purge_responses", 1, "hours"),
    Beat("batches: the last word of those whose job ended", "gateway.finish_batches", 1, "minutes"),
    Beat("models: fetch what experts served", "modelhub.collect_activations", 1, "minutes"),
    Beat("models: measure the devices where it is due", "modelhub.tune_devices", 10, "minutes"),
    Beat("models: watch versions on trial", "modelhub.watch_canaries", 15, "seconds"),
    Beat("models: take experiments on", "modelhub.advance_experiments", 1, "minutes"),
    Beat("models: accuracy objectives", "modelhub.watch_objectives", 30, "seconds"),
    Beat("models: evaluate every live version", "modelhub.scheduled_evaluations", 1, "days"),
    Beat("models: audit for bias", "modelhub.scheduled_audits", 1, "days"),
    Beat("models: audit smaller copies that wait", "modelhub.owed_audits", 5, "minutes"),
    Beat("routing: learn from judged answers", "routing.learn", 6, "hours"),
    Beat("bias: look at live answers", "routing.watch_bias", 1, "minutes"),
    Beat("bias: examine the guard on every route", "routing.guard_self_test", 1, "days"),
    Beat("policy: watch versions that were published", "routing.watch_rollouts", 15, "seconds"),
    Beat("policy: sum up what shadows would have done", "routing.tally_shadows", 1, "minutes"),
    Beat("policy: hold what-ifs against the truth", "routing.compare_what_ifs", 1, "hours"),
)


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
