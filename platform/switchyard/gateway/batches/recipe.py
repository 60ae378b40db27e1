"""The job of a batch: validate every line, hold what it may cost, answer in groups, write the files.

A worker does other things too: after TURN_S the job gives up its turn and waits behind whoever came meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import F

from modelhub.services import files, reservations
from routing.contracts import KeyInfo, Snapshot
from routing.execution.deadlines import Deadline
from routing.inspection.collect import inspect
from routing.pipeline import Live, decide
from routing.run import Run
from switchyard.core.clock import now
from switchyard.core.errors import BudgetExhausted, NotFound, SwitchyardError
from switchyard.gateway.batches import orphans
from switchyard.gateway.batches.asking import Held, ask, desk_of, key_of, request_of, width
from switchyard.gateway.batches.finishing import finish, journal_of, move
from switchyard.gateway.batches.journal import Entry, Journal
from switchyard.gateway.batches.lines import Line, fault_of, lines_of
from switchyard.gateway.desk import Office
from switchyard.gateway.models import Batch
from switchyard.gateway.snapshot import SnapshotKeeper, build_world
from switchyard.jobs.models import Job
from switchyard.jobs.runner import Context, Fenced, Stopped
from switchyard.jobs.services import wake

TURN_S = 20.0
SHOWN = 50  # faults told of one file


class TurnOver(Fenced):
    """The job is queued again; whoever comes next goes on."""


def run(context: Context) -> dict[str, Any]:
    batch = Batch.objects.select_related("lob__organisation", "job").get(pk=context.params["batch"])
    try:
        if batch.status == "validating":
            if faults := _validate(context, batch):
                finish(batch, "failed", faults)
                return {"batch": batch.pk, "status": "failed"}
            move(batch, "in_progress")
        ended, errors = asyncio.run(_work(context, batch))
    except (Stopped, asyncio.CancelledError):
        ended, errors = "stopped", []
    if ended == "turn":
        _give_up_turn(context)
    if ended == "stopped":
        if Job.objects.filter(pk=context.job.pk, cancel_requested=True).exists():
            finish(batch, "cancelled")
        raise Stopped
    finish(batch, ended, errors)
    return {"batch": batch.pk, "status": ended, "completed": batch.completed, "failed": batch.failed}


def _give_up_turn(context: Context) -> None:
    """Behind whoever waits. Raises TurnOver, after which this runner writes nothing."""
    rows = Job.objects.filter(pk=context.job.pk, fence=context.fence, state="running")
    if rows.update(state="queued", lease_until=None, fence=F("fence") + 1, message="lets others through"):
        wake(context.job)
    raise TurnOver


# --------------------------------------------------------------------------------------------------------- validation
def _validate(context: Context, batch: Batch) -> list[dict[str, Any]]:
    """Faults of the file; none: every line may be asked, and what all of them may cost is held."""
    try:
        file = files.find(batch.lob_id, batch.input_file_id)
    except NotFound as error:
        return [_fault("not_found", error.message, "input_file_id")]
    faults: list[dict[str, Any]] = []
    total = 0
    for line in lines_of(file):
        total += 1
        if (fault := fault_of(line, batch.endpoint)) is not None and len(faults) < SHOWN:
            faults.append(fault)
    if faults:
        return faults
    Batch.objects.filter(pk=batch.pk).update(total=total)
    batch.total = total
    try:
        worst = _worst_case(batch, file)
        Job.objects.filter(pk=context.job.pk).update(estimated_nusd=worst)
        context.job.estimated_nusd = worst
        reservations.reserve(context.job, worst)
    except BudgetExhausted as error:
        return [_fault(error.code, error.message, None)]
    except NotFound as error:
        return [_fault(error.code, error.message, None)]
    return []


def _fault(code: str, message: str, param: str | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": None}


def _world(batch: Batch) -> Snapshot:
    return build_world().organisations[batch.organisation_id]


def _worst_case(batch: Batch, file: Any) -> int:
    """Nano-dollars that the lines may cost at most, each by itself at the dearest deployment it may reach."""
    world = _world(batch)
    key = key_of(batch.key_id, world)
    return sum(_line_worst(line, batch, key, world) for line in lines_of(file))


def _line_worst(line: Line, batch: Batch, key: KeyInfo, world: Snapshot) -> int:
    """What can't be asked costs nothing: it is refused when its turn comes, in words."""
    try:
        request = request_of(line, batch.endpoint, key, world, batch.declared_sensitivity)
        run_ = Run(request, world, Deadline(1.0))
        run_.facts = inspect(request, world, Live())
        decide(run_)
    except SwitchyardError:
        return 0
    assert run_.decision is not None
    costs = []
    for hop in run_.decision.hops:
        prices = world.deployments[hop.deployment].prices
        share = prices.batch_ppm if prices is not None and prices.batch_ppm is not None else 1_000_000
        costs.append(-(-hop.worst_case_nusd * share // 1_000_000))
    return max(costs)


# --------------------------------------------------------------------------------------------------------------- work
async def _work(context: Context, batch: Batch) -> tuple[str, list[dict[str, Any]]]:
    """(how it ended, why): completed, expired, failed, stopped or turn."""
    keeper, office = SnapshotKeeper(), Office()
    await sync_to_async(keeper.load)()
    await office.open()
    journal = journal_of(batch)
    try:
        await _tell_again(journal, office)
        return await _groups(context, batch, keeper, office, journal)
    except NotFound as error:
        return "failed", [_fault(error.code, error.message, error.param)]
    finally:
        await office.close()


async def _tell_again(journal: Journal, office: Office) -> None:
    """Events of answers that were written down before a kill, and perhaps not settled."""
    waiting = await asyncio.to_thread(journal.unsettled)
    for entry in waiting:
        if entry.event:
            await orphans.free(office.fresh, entry.event["request_id"], entry.cost_nusd)
            await office.admission.publish(entry.event)
    if waiting:
        await asyncio.to_thread(journal.settled, [entry.number for entry in waiting])


async def _groups(
    context: Context, batch: Batch, keeper: SnapshotKeeper, office: Office, journal: Journal
) -> tuple[str, list[dict[str, Any]]]:
    held = Held(office.admission)
    desk = desk_of(office.desk, held)
    done = await sync_to_async(_recount)(batch, journal)
    file = await sync_to_async(lambda: files.find(batch.lob_id, batch.input_file_id))()
    left = (line for line in lines_of(file) if line.number not in done)
    began, answered = time.monotonic(), len(done)
    while group := await asyncio.to_thread(_next, left):
        if now() > batch.expires_at:
            return "expired", []
        if await sync_to_async(context.should_stop)():
            return "stopped", []
        if time.monotonic() - began > TURN_S:
            return "turn", []
        await sync_to_async(keeper.refresh)()
        world = keeper.world.organisations[batch.organisation_id]
        key = key_of(batch.key_id, world)
        await sync_to_async(_shrink_hold)(context, batch, answered + len(group))
        asked = [
            ask(line, batch.endpoint, key, world, batch.declared_sensitivity, desk, held) for line in group
        ]
        await _commit(batch, journal, held, await asyncio.gather(*asked))
        answered += len(group)
        told = f"{answered} of {batch.total} lines"
        await sync_to_async(context.progress)(answered / max(1, batch.total), told)
    return "completed", []


def _recount(batch: Batch, journal: Journal) -> set[int]:
    """Lines that are answered; the counts say what the journal says, whatever a kill kept from them."""
    good, cost, done = 0, 0, set()
    for entry in journal.read():
        done.add(entry.number)
        good, cost = good + entry.ok, cost + entry.cost_nusd
    batch.completed, batch.failed = good, len(done) - good
    Batch.objects.filter(pk=batch.pk).update(completed=batch.completed, failed=batch.failed, cost_nusd=cost)
    return done


def _next(lines: Iterator[Line]) -> list[Line]:
    return list(islice(lines, width()))


def _shrink_hold(context: Context, batch: Batch, reached: int) -> None:
    """What the lines in flight reserve by themselves is held for them no longer; the rest stays held."""
    expected = context.job.estimated_nusd or 0
    rest = expected * max(0, batch.total - reached) // max(1, batch.total)
    if rest < context.job.reserved_nusd:
        reservations.reserve(context.job, rest)


async def _commit(batch: Batch, journal: Journal, held: Held, entries: list[Entry]) -> None:
    """On the disk first, then settled: no answer without its cost, no cost twice."""
    await asyncio.to_thread(journal.append, entries)
    await asyncio.gather(*(held.let_go(e.event["request_id"]) for e in entries if e.event))
    await asyncio.to_thread(journal.settled, [e.number for e in entries])
    good = sum(entry.ok for entry in entries)
    cost = sum(entry.cost_nusd for entry in entries)
    await sync_to_async(_count)(batch, good, len(entries) - good, cost)


def _count(batch: Batch, good: int, bad: int, cost_nusd: int) -> None:
    rows = Batch.objects.filter(pk=batch.pk)
    rows.update(
        completed=F("completed") + good, failed=F("failed") + bad, cost_nusd=F("cost_nusd") + cost_nusd
    )
    batch.completed, batch.failed = batch.completed + good, batch.failed + bad
