"""What the same requests would have cost another way: on one side alone, and under the policy of the period before.

Only answers are compared. Shadows, judges, evaluations and training answer nobody: no policy moves them and neither side alone
would spare them or bring them, so what they cost is told beside the comparison and is part of none of its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from costs.reading import Kept
from costs.reports.base import Report, groups_of, zone_of
from costs.reports.cells import SUMS, by, cells
from costs.rollups import as_of, hour_of
from switchyard.tenancy.models import ConfigVersion
from switchyard.tenancy.querysets import Scope

Sides = dict[str, dict[str, int]]
Key = tuple[str, str]  # (workload, line of business)
SAMPLE = 5_000
ANSWERS = "answer"  # the purpose that is compared


@dataclass(frozen=True, slots=True)
class Replayed:
    """One workload's requests decided again by an earlier policy. `cost_nusd` is scaled up from `n` to all `of` of them."""

    version: str
    n: int
    of: int
    cost_nusd: int
    moved: int  # of n: another side than the one that answered
    unknown: int  # of n: refused then, or sent where nobody knows the price; they count at what they cost
    note: str = ""


class PolicyReplay(Protocol):
    def __call__(
        self, *, scope: Scope, start: datetime, end: datetime, lob: str | None, sample: int
    ) -> Mapping[Key, Replayed]:
        """Decide a period's requests by the policies that were live when the calendar month before it ended."""
        ...


_replay: PolicyReplay | None = None
REPLAYS: Kept[Mapping[Key, Replayed]] = Kept(64)


def register_replay(replay: PolicyReplay) -> None:
    """Whoever keeps decisions and policies says how to decide again; costs knows neither."""
    global _replay
    _replay = replay


def _sides(found: Sides) -> dict[str, Any]:
    """One workload's actual cost beside what each single side would have cost.

    A request that the other side could not have answered counts at what it really cost in both. Attempts that gave no
    answer (a cascade's first try, a retry) are `retries_nusd`: part of what was really paid, and of neither alternative.
    """
    out = {
        "actual_nusd": 0,
        "all_private_nusd": 0,
        "all_external_nusd": 0,
        "retries_nusd": 0,
        "other_purposes_nusd": 0,
        "requests": 0,
        "bound_requests": 0,
    }
    reasons = []
    for side, sums in found.items():
        other = "external" if side == "private" else "private"
        bound = sums["requests"] - sums["other_side_known"]
        unmoved = sums["answered_cost_nusd"] - sums["other_side_own_cost_nusd"]
        out["actual_nusd"] += sums["cost_nusd"]
        out["retries_nusd"] += sums["cost_nusd"] - sums["answered_cost_nusd"]
        out["other_purposes_nusd"] += sums["other_purposes_nusd"]
        out[f"all_{side}_nusd"] += sums["answered_cost_nusd"]
        out[f"all_{other}_nusd"] += sums["other_side_cost_nusd"] + unmoved
        out["requests"] += sums["requests"]
        out["bound_requests"] += bound
        if bound and side == "private":
            reasons.append(f"residency keeps {bound} of {sums['requests']} requests at home")
        elif bound:
            reasons.append(f"no private deployment could have taken {bound} of {sums['requests']} requests")
    return out | {"bound": "; ".join(reasons)}


def _by_earlier_mix(now: Sides, before: Sides | None) -> dict[str, Any]:
    """The actual cost, had the sides shared this period's requests as they shared those of the period before.

    Only requests that the other side could have taken move; each moves at the mean difference of those of its side.
    """
    unknown = {"last_policy_nusd": None, "last_policy_version": "", "last_policy_n": 0}
    asked_before = sum(s["requests"] for s in (before or {}).values())
    requests = sum(s["requests"] for s in now.values())
    if not asked_before or not requests:
        return unknown
    share = Fraction((before or {}).get("external", {}).get("requests", 0), asked_before)
    wanted = round(share * requests) - now.get("external", {}).get("requests", 0)
    side = "private" if wanted > 0 else "external"
    sums = now.get(side)
    actual = sum(s["cost_nusd"] for s in now.values())
    if wanted and sums and sums["other_side_known"]:
        moved = min(abs(wanted), sums["other_side_known"])
        difference = sums["other_side_cost_nusd"] - sums["other_side_own_cost_nusd"]
        actual += round(Fraction(moved * difference, sums["other_side_known"]))
    return {
        "last_policy_nusd": actual, "last_policy_version": "mix of the period before", "last_policy_n": requests,
    }  # fmt: skip


def by_workload(scope: Scope, start: datetime, end: datetime, lob: str | None) -> dict[Key, Sides]:
    """(workload, line of business) → side → sums of what answers did, and "other_purposes_nusd": what all else cost."""
    found: dict[Key, Sides] = {}
    names = ("lob", "workload", "side", "purpose")
    for (of, workload, side, purpose), sums in sorted(by(cells(scope, start, end, lob), names).items()):
        nothing = dict.fromkeys((*SUMS, "other_purposes_nusd"), 0)
        kept = found.setdefault((workload, of), {}).setdefault(side, nothing)
        if purpose != ANSWERS:
            kept["other_purposes_nusd"] += sums["cost_nusd"]
            continue
        for name in SUMS:
            kept[name] += sums[name]
    return dict(sorted(found.items()))


def counterfactual(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
    replay: bool = False,
) -> Report:
    """Rows by workload {"key", "lob", "actual_nusd", "all_private_nusd", "all_external_nusd", "retries_nusd",
    "other_purposes_nusd", "last_policy_nusd", "last_policy_version", "last_policy_n", "bound", …}.

    Nano-dollars. `actual_nusd` is what answers cost, their attempts without an answer (`retries_nusd`) in it.
    `other_purposes_nusd` is what shadows, judges, evaluations and training cost: in none of the others, so that it and
    `actual_nusd` add up to what the spend report shows.

    `last_policy_nusd` follows from the mix of sides in the period of equal length before. With `replay` up to 5,000 decisions
    a workload are taken again by the policies live at the end of the month before, which costs seconds, not milliseconds;
    rows then have "last_policy_moved" and "last_policy_unknown" too. None where neither is known; such rows count at their
    actual cost in the totals, which say how many ("last_policy_unknown_rows").
    Totals beside, each with its sign: "saving_to_private_nusd" and "saving_to_external_nusd" are that side alone minus
    `actual_nusd`; "saving_nusd" is the larger of the two, against the dearer side, so it never stands without the others.
    """
    groups_of(group), zone_of(tz)  # the rows are always workloads; what is wrong is refused all the same
    start = hour_of(start)
    now, before = by_workload(scope, start, end, lob), by_workload(scope, start - (end - start), start, lob)
    again = _decided_again(_replay, scope, start, end, lob) if replay and _replay else None
    rows = []
    for key, found in now.items():
        last = _by_earlier_mix(found, before.get(key)) if again is None else _replayed(found, again.get(key))
        rows.append({"key": key[0], "lob": key[1]} | _sides(found) | last)
    names = (
        "actual_nusd", "all_private_nusd", "all_external_nusd", "retries_nusd", "other_purposes_nusd", "requests",
        "bound_requests",
    )  # fmt: skip
    totals: dict[str, Any] = {n: sum(row[n] for row in rows) for n in names}
    known = [row for row in rows if row["last_policy_nusd"] is not None]
    unknown = [row for row in rows if row["last_policy_nusd"] is None]
    totals["last_policy_unknown_rows"] = sum(1 for row in unknown if row["requests"] or row["actual_nusd"])
    totals["last_policy_nusd"] = (
        sum(
            row["actual_nusd"] if row["last_policy_nusd"] is None else row["last_policy_nusd"] for row in rows
        )
        if known
        else None
    )
    for side in ("private", "external"):
        totals[f"saving_to_{side}_nusd"] = totals[f"all_{side}_nusd"] - totals["actual_nusd"]
    totals["saving_nusd"] = max(totals["saving_to_private_nusd"], totals["saving_to_external_nusd"])
    return Report("counterfactual", as_of(), rows, totals)


def _decided_again(
    replay: PolicyReplay, scope: Scope, start: datetime, end: datetime, lob: str | None
) -> Mapping[Key, Replayed]:
    """Thousands of decisions are taken again, so the result is kept while the period's roll-ups, the policies and the deployments
    stay as they are."""
    version = ConfigVersion.objects.values_list("version", flat=True).first()
    known = hash(tuple(cells(scope, start, end, lob)))
    key = (replay, scope.organisation_id, scope.lob_slugs, start, end, lob, version, known)
    return REPLAYS.get(key, lambda: replay(scope=scope, start=start, end=end, lob=lob, sample=SAMPLE))


def _replayed(found: Sides, again: Replayed | None) -> dict[str, Any]:
    """What attempts without an answer cost is paid under any policy, so it is added to the replayed answers."""
    if again is None or not again.n:
        return {
            "last_policy_nusd": None, "last_policy_version": again.note if again else "", "last_policy_n": 0,
            "last_policy_moved": 0, "last_policy_unknown": 0,
        }  # fmt: skip
    beside = sum(s["cost_nusd"] - s["answered_cost_nusd"] for s in found.values())
    return {
        "last_policy_nusd": again.cost_nusd + beside, "last_policy_version": again.version, "last_policy_n": again.n,
        "last_policy_moved": again.moved, "last_policy_unknown": again.unknown,
    }  # fmt: skip


def read_flag(text: str) -> bool:
    """`replay=1`. Raises ValueError for anything but a yes or a no."""
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("0", "false", "no"):
        return False
    raise ValueError(f"replay is {text!r}; expected 1 or 0.")
