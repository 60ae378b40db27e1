"""verify_books: what is wrong with an organisation's books, one sentence each, in the language of whoever asks (jobs: of the
organisation). Everything is summed by the database, so that ten million rows are a matter of seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from costs import label_hours, triggers
from costs.books import partitions
from costs.books.fiscal import balances_of
from costs.models import LEGS, AccountHour, FiscalPeriod
from switchyard.core.bulk import grouped_by_hash
from switchyard.core.clock import now


def verify_books(organisation_id: int) -> list[str]:
    """What is wrong, one sentence each; empty when the books hold. Detached partitions count as long as they are there."""
    with grouped_by_hash(), connection.cursor() as cursor:
        books = _Books(cursor, organisation_id)
        checks: list[Callable[[_Books], list[str]]] = [
            _trial_balance, _rows, _revisions, _reversals, _hours,
        ]  # fmt: skip
        findings = [finding for check in checks for finding in check(books)]
    findings += label_hours.verify(organisation_id)
    findings += _closed_periods(organisation_id)
    if not triggers.installed(connection):
        findings.append(_("The triggers that keep the ledger append-only are missing: run `migrate`."))
    return findings


class _Books:
    """Queries over both tables, detached partitions included. What is compared is read in one statement, so that rows which
    come meanwhile are on both sides or on neither."""

    def __init__(self, cursor: Any, organisation_id: int) -> None:
        self.cursor, self.organisation_id = cursor, organisation_id
        apart = partitions.detached(cursor) if connection.vendor == "postgresql" else []
        self.attempts = _union("costs_attempt", apart)
        self.entries = _union("costs_ledgerentry", apart)

    def row(self, query: str, *values: Any) -> tuple[Any, ...]:
        """The first row of a query; `{a}` and `{e}` are the tables."""
        return self.rows(query, *values)[0]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All of them."""
        self.cursor.execute(query.format(a=self.attempts, e=self.entries), values)
        return self.cursor.fetchall()


def _union(table: str, apart: list[str]) -> str:
    names = [table, *(name for name in apart if name.startswith(f"{table}_"))]
    if len(names) == 1:
        return table
    return "(" + " UNION ALL ".join(f"SELECT * FROM {name}" for name in names) + ")"


def _trial_balance(books: _Books) -> list[str]:
    (balance,) = books.row(
        "SELECT coalesce(sum(debit_nusd), 0) - coalesce(sum(credit_nusd), 0) FROM costs_accounthour WHERE organisation_id = %s",
        books.organisation_id,
    )
    words = _("The trial balance is %(balance)s nano-dollars, not zero.")
    return [words % {"balance": balance}] if balance else []


def _rows(books: _Books) -> list[str]:
    """One look at every transfer and every attempt. Attempts in force cost what was booked for them, less what was reversed,
    for each line of business; their parts sum to their cost."""
    legs = " + ".join(f"{leg}_nusd" for leg in LEGS)
    by_lob = books.rows(
        f"""SELECT lob, sum(bad), sum(future), sum(apart), sum(booked), sum(n_booked), sum(metered), sum(n_metered) FROM (
             SELECT lob, sum(CASE WHEN amount_nusd <= 0 OR debit = credit THEN 1 ELSE 0 END) AS bad,
                    sum(CASE WHEN recorded_at > %s THEN 1 ELSE 0 END) AS future, 0 AS apart,
                    sum(CASE WHEN attempt IS NULL THEN 0 WHEN reverses_id IS NULL THEN amount_nusd
                             ELSE -amount_nusd END) AS booked,
                    sum(CASE WHEN attempt IS NULL THEN 0 WHEN reverses_id IS NULL THEN 1 ELSE -1 END) AS n_booked,
                    0 AS metered, 0 AS n_metered
             FROM {{e}} entry WHERE organisation_id = %s GROUP BY lob
             UNION ALL
             SELECT lob, 0, 0, sum(CASE WHEN {legs} IN (0, cost_nusd) THEN 0 ELSE 1 END), 0, 0, sum(cost_nusd),
                    sum(CASE WHEN cost_nusd > 0 THEN 1 ELSE 0 END)
             FROM {{a}} attempt WHERE organisation_id = %s AND NOT superseded GROUP BY lob) both_sides
           GROUP BY lob ORDER BY lob""",
        connection.ops.adapt_datetimefield_value(now()), books.organisation_id, books.organisation_id,
    )  # fmt: skip
    bad, future, apart, booked, n_booked, metered, n_metered = (
        [int(sum(column)) for column in list(zip(*by_lob, strict=True))[1:]] if by_lob else [0] * 7
    )
    findings = []
    if bad:
        findings.append(
            _("%(count)s transfers have no positive amount or only one account.") % {"count": bad}
        )
    if (metered, n_metered) != (booked, n_booked):
        words = _(
            "%(attempts)s attempts cost %(metered)s nano-dollars, but %(entries)s entries book %(booked)s."
        )
        findings.append(
            words % {"attempts": n_metered, "metered": metered, "entries": n_booked, "booked": booked}
        )
    elif differ := [lob or "-" for lob, *_sums, b, n_b, m, n_m in by_lob if (b, n_b) != (m, n_m)]:
        words = _("Attempts and entries of %(lobs)s differ, though their sums agree.")
        findings.append(words % {"lobs": ", ".join(differ)})
    if apart:
        findings.append(_("%(count)s attempts have parts that do not sum to their cost.") % {"count": apart})
    if future:
        findings.append(_("%(count)s entries were recorded in the future.") % {"count": future})
    return findings


def _revisions(books: _Books) -> list[str]:
    (odd,) = books.row(
        """SELECT count(*) FROM {a} newer WHERE organisation_id = %s AND revision > 0 AND NOT superseded AND EXISTS (
             SELECT 1 FROM {a} older WHERE older.request_id = newer.request_id AND older.attempt = newer.attempt
             AND older.revision < newer.revision AND NOT older.superseded)""",
        books.organisation_id,
    )
    words = _("%(count)s attempts are in force in more than one revision.")
    return [words % {"count": odd}] if odd else []


def _reversals(books: _Books) -> list[str]:
    findings = []
    (twice,) = books.row(
        """SELECT count(*) FROM (SELECT reverses_id FROM {e} entry WHERE organisation_id = %s AND reverses_id IS NOT NULL
           GROUP BY reverses_id HAVING count(*) > 1) twice""",
        books.organisation_id,
    )
    if twice:
        findings.append(_("%(count)s entries are reversed more than once.") % {"count": twice})
    (orphans,) = books.row(
        """SELECT count(*) FROM {e} back WHERE organisation_id = %s AND reverses_id IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM {e} entry WHERE entry.id = back.reverses_id AND entry.debit = back.credit
             AND entry.credit = back.debit AND entry.amount_nusd = back.amount_nusd)""",
        books.organisation_id,
    )
    if orphans:
        findings.append(_("%(count)s reversals reverse no entry, or not all of it.") % {"count": orphans})
    return findings


def _hours(books: _Books) -> list[str]:
    """AccountHour against the rows themselves: by hour and both accounts first, which is few rows, then by account."""
    hour = (
        "date_trunc('hour', at, 'UTC')"
        if connection.vendor == "postgresql"
        else "substr(at, 1, 13) || ':00:00'"
    )
    rows, total = books.row(
        f"""WITH hours AS (
            SELECT {hour} AS start, debit, credit, lob, sum(amount_nusd) AS amount FROM {{e}} entry
            WHERE organisation_id = %s GROUP BY 1, 2, 3, 4)
        SELECT count(*), coalesce(sum(abs(d) + abs(c)), 0) FROM (
            SELECT start, account, lob, sum(debit) AS d, sum(credit) AS c FROM (
                SELECT start, debit AS account, lob, amount AS debit, 0 AS credit FROM hours
                UNION ALL SELECT start, credit, lob, 0, amount FROM hours
                UNION ALL SELECT start, account, lob, -debit_nusd, -credit_nusd FROM costs_accounthour
                          WHERE organisation_id = %s
            ) sides GROUP BY start, account, lob
        ) apart WHERE d <> 0 OR c <> 0""",
        books.organisation_id,
        books.organisation_id,
    )
    if not rows:
        return []
    words = _(
        "%(count)s balances of an account and hour differ from their transfers, by %(total)s nano-dollars together."
    )
    return [words % {"count": rows, "total": total}]


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
            words = _("%(month)s is closed, but has moved since: %(accounts)s.")
            findings.append(words % {"month": f"{period.start:%Y-%m}", "accounts": ", ".join(accounts[:5])})
    return findings
