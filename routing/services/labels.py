"""Accepted feedback is a label: booked at the line of business's price, once an answer, however often it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from costs.labels import Charged, Labelled, charge_what_fits
from switchyard.core.clock import from_ns


def charge_feedback(events: Iterable[Mapping[str, Any]]) -> Charged:
    """Book the feedback among the events that says whether an answer was right (`correct`, or a label that was compared);
    a score is no label. Idempotent.

    Called after the feedback itself is committed: beyond the labelling budget it still counts for accuracy, but isn't
    booked, and an alert says so. Told again once there is room, it is booked then.
    """
    told = [event for event in events if event["kind"] == "feedback" and event["correct"] is not None]
    return charge_what_fits([_labelled(event) for event in told])


def _labelled(event: Mapping[str, Any]) -> Labelled:
    return Labelled(
        event_id=f"feedback:{event['decision_id']}:{event['index']}", organisation_id=event["organisation_id"],
        lob=event["lob"], workload=event["workload"], purpose="feedback", at=from_ns(event["at_ns"]),
        memo=f"feedback on {event['decision_id']}", origin=event["origin"],
    )  # fmt: skip
