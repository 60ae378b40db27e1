"""verify_books: what is wrong with an organisation's books, one sentence each. Everything is summed by the database, so that
ten million rows are a matter of seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

from costs import triggers
from costs.books import partitions
from costs.books.fiscal import balances_of
from costs.models import AccountHour, FiscalPeriod
from switchyard.core.clock import now


def verify_books(organisation_id: int) -> list[str]:
    """What is wrong, one sentence each; empty when the books hold. Detached partitions count as long as they are there."""
    with connection.cursor() as cursor:
        books = _Books(cursor, organisation_id)
        checks: list[Callable[[_Books], list[str]]] = [
            _trial_balance, _legs, _attempts_are_booked, _reversals, _hours, _future,
        ]  # fmt: skip
        findings = [finding for check in checks for finding in check(books)]
    findings += _closed_periods(organisation_id)
    if not triggers.installed(connection):
        findings.append("The triggers that keep the ledger append-only are missing: run `migrate`.")
    return findings


class _Books:
    """Queries over both tables, detached partitions included."""

    def __init__(self, cursor: Any, organisation_id: int) -> None:
        self.cursor, self.organisation_id = cursor, organisation_id
        apart = partitions.detached(cursor) if connection.vendor == "postgresql" else []
        self.attempts = _union("costs_attempt", apart)
        self.entries = _union("costs_ledgerentry", apart)

    def row(self, query: str, *values: Any) -> tuple[Any, ...]:
        """The first row of a query; `{a}` and `{e}` are the tables, `%s` the organisation and then the values."""
        self.cursor.execute(query.format(a=self.attempts, e=self.entries), [self.organisation_id, *values])
        return self.cursor.fetchone()


def _union(table: str, apart: list[str]) -> str:
    names = [table, *(name for name in apart if name.startswith(f"{table}_"))]
    if len(names) == 1:
        return table
    return "(" + " UNION ALL ".join(f"SELECT * FROM {name}" for name in names) + ") whole"


def _trial_balance(books: _Books) -> list[str]:
    (balance,) = books.row(
        "SELECT coalesce(sum(debit_nusd), 0) - coalesce(sum(credit_nusd), 0) FROM costs_accounthour WHERE organisation_id = %s"
    )
    return [f"The trial balance is {balance} nano-dollars, not zero."] if balance else []


def _legs(books: _Books) -> list[str]:
    (bad,) = books.row(
        "SELECT count(*) FROM {e} WHERE organisation_id = %s AND (amount_nusd <= 0 OR debit = credit)"
    )
    return [f"{bad} transfers have no positive amount or only one account."] if bad else []


def _attempts_are_booked(books: _Books) -> list[str]:
    """Attempts in force against what was booked for them, less what was reversed; and each of them at most once."""
    findings = []
    metered, n_metered = books.row(
        """SELECT coalesce(sum(cost_nusd), 0), coalesce(sum(CASE WHEN cost_nusd > 0 THEN 1 ELSE 0 END), 0)
           FROM {a} WHERE organisation_id = %s AND NOT superseded"""
    )
    booked, n_booked = books.row(
        """SELECT coalesce(sum(CASE WHEN reverses_id IS NULL THEN amount_nusd ELSE -amount_nusd END), 0),
                  coalesce(sum(CASE WHEN reverses_id IS NULL THEN 1 ELSE -1 END), 0)
           FROM {e} WHERE organisation_id = %s AND attempt IS NOT NULL"""
    )
    if (metered, n_metered) != (booked, n_booked):
        findings.append(
            f"{n_metered} attempts cost {metered} nano-dollars, but {n_booked} entries book {booked}."
        )
    (odd,) = books.row(
        """SELECT count(*) FROM (SELECT request_id FROM {a} WHERE organisation_id = %s AND NOT superseded
           GROUP BY request_id, attempt HAVING count(*) > 1) twice"""
    )
    if odd:
        findings.append(f"{odd} attempts are in force in more than one revision.")
    return findings


def _reversals(books: _Books) -> list[str]:
    findings = []
    (twice,) = books.row(
        """SELECT count(*) FROM (SELECT reverses_id FROM {e} WHERE organisation_id = %s AND reverses_id IS NOT NULL
           GROUP BY reverses_id HAVING count(*) > 1) twice"""
    )
    if twice:
        findings.append(f"{twice} entries are reversed more than once.")
    (orphans,) = books.row(
        """SELECT count(*) FROM (SELECT * FROM {e} WHERE organisation_id = %s AND reverses_id IS NOT NULL) r
           WHERE NOT EXISTS (SELECT 1 FROM {e} WHERE id = r.reverses_id AND debit = r.credit AND credit = r.debit
                             AND amount_nusd = r.amount_nusd)"""
    )
    if orphans:
        findings.append(f"{orphans} reversals reverse no entry, or not all of it.")
    return findings


def _hours(books: _Books) -> list[str]:
    """AccountHour against the rows themselves, by account: the sums of each side of the difference."""
    hour = (
        "date_trunc('hour', at, 'UTC')"
        if connection.vendor == "postgresql"
        else "substr(at, 1, 13) || ':00:00'"
    )
    rows, total = books.row(
        f"""WITH mine AS (SELECT * FROM {{e}} WHERE organisation_id = %s)
        SELECT count(*), coalesce(sum(abs(d) + abs(c)), 0) FROM (
            SELECT start, account, lob, sum(debit) AS d, sum(credit) AS c FROM (
                SELECT {hour} AS start, debit AS account, lob, amount_nusd AS debit, 0 AS credit FROM mine
                UNION ALL SELECT {hour}, credit, lob, 0, amount_nusd FROM mine
                UNION ALL SELECT start, account, lob, -debit_nusd, -credit_nusd FROM costs_accounthour
                          WHERE organisation_id = %s
            ) sides GROUP BY start, account, lob
        ) apart WHERE d <> 0 OR c <> 0""",
        books.organisation_id,
    )
    if not rows:
        return []
    return [
        f"{rows} balances of an account and hour differ from their transfers, by {total} nano-dollars together."
    ]


def _future(books: _Books) -> list[str]:
    (late,) = books.row(
        "SELECT count(*) FROM {e} WHERE organisation_id = %s AND recorded_at > %s",
        connection.ops.adapt_datetimefield_value(now()),
    )
    return [f"{late} entries were recorded in the future."] if late else []


def _closed_periods(organisation_id: int) -> list[str]:
    """What stood at the close against what stands now."""
    findings = []
    for period in FiscalPeriod.objects.filter(organisation_id=organisation_id, state="closed"):
        rows = AccountHour.objects.filter(organisation_id=organisation_id)
        found = balances_of(rows.filter(start__gte=period.start, start__lt=period.end))
        if found != period.balances:
            accounts = sorted(
                a for a in found.keys() | period.balances.keys() if found.get(a) != period.balances.get(a)
            )
            findings.append(
                f"{period.start:%Y-%m} is closed, but has moved since: {', '.join(accounts[:5])}."
            )
    return findings
