"""What inspection finds and what it costs: recall on held-out groups, everyday texts raised by mistake, time, money.

    python -m bench.tools.policy_inspection       → a table; bench/policy.py writes the same rows into policy.json

Held out are the `report` parts of modelhub/ml/inspect/splits.py: whole templates of sentences, whole families of attacks. No
weight, word list or threshold of the classifier was set by them. The patterns for numbers and e-mail addresses are older than the
split and were written with sight of some of those sentences.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.common import Results
from bench.tools import inspection_cases as cases
from bench.tools import inspection_everyday, inspection_times
from bench.tools.inspection_rates import asked, brought, found, rate
from modelhub.ml.inspect import splits
from routing.inspection import scan
from routing.inspection.learned import classifier

SEED, CASES = 2026, 400
NUMBERS = {
    "CREDIT_CARD": "card", "US_SSN": "us_ssn", "IBAN_CODE": "iban", "US_DRIVER_LICENSE": "driver_license",
    "PHONE_NUMBER": "phone",
}  # fmt: skip
CREDENTIALS = frozenset({"api_key", "jwt", "private_key", "url_password", "password"})


def rows(results: Results) -> None:
    """Add every row and control of inspection to `results`."""
    _personal_data(results)
    _credentials(results)
    _injection(results)
    inspection_everyday.everyday(results)
    inspection_everyday.chinese(results)
    inspection_times.rows(results)


def _covered(spans: Iterable[tuple[str, int, int]], kinds: frozenset[str], start: int, end: int) -> bool:
    return any(kind in kinds and a <= start and b >= end for kind, a, b in spans)


def _spans(text: str) -> list[tuple[str, int, int]]:
    """As masking has them: patterns and the learned finder of names."""
    return [*scan.find(text), *(("person_name", a, b) for a, b in classifier().names_in(text))]


def _personal_data(results: Results) -> None:
    hits: dict[str, list[bool]] = {}
    false_names = names = 0
    for row in splits.pii_rows("report"):
        spans = _spans(row["full_text"])
        people = [s for s in row["spans"] if s["entity_type"] == "PERSON"]
        for span in row["spans"]:
            kind = span["entity_type"]
            wanted = NUMBERS.get(kind) or {
                "EMAIL_ADDRESS": "email",
                "PERSON": "person_name",
                "IP_ADDRESS": "ip_address",
            }.get(kind)
            overlap = kind == "STREET_ADDRESS"
            if overlap:  # the street suffices here: the town behind it is not what is looked for
                hit = any(
                    k == "address" and a < span["end_position"] and b > span["start_position"]
                    for k, a, b in spans
                )
                hits.setdefault("address", []).append(hit)
            elif wanted:
                hit = _covered(spans, frozenset({wanted}), span["start_position"], span["end_position"])
                hits.setdefault(wanted, []).append(hit)
        for kind, a, b in spans:
            if kind == "person_name":
                names += 1
                false_names += not any(a < s["end_position"] and b > s["start_position"] for s in people)
    held_out = "pii_synthetic, held-out templates, the whole value inside one finding"
    numbers = [hit for kind in NUMBERS.values() for hit in hits.get(kind, [])]
    rate(
        results,
        "inspection_recall_id",
        sum(numbers),
        len(numbers),
        f"{held_out}: cards, IBANs, licences, phone numbers",
        at_least=0.95,
    )
    rate(results, "inspection_recall_email", sum(hits["email"]), len(hits["email"]), held_out, at_least=0.95)
    rate(
        results,
        "inspection_recall_name",
        sum(hits["person_name"]),
        len(hits["person_name"]),
        held_out,
        at_least=0.85,
    )
    for kind in (*NUMBERS.values(), "ip_address", "address"):
        if kind in hits:
            rate(
                results, f"inspection_recall_{kind}", sum(hits[kind]), len(hits[kind]), held_out, control=True
            )
    rate(
        results,
        "inspection_names_that_are_none",
        false_names,
        names,
        "of what is taken for a name in the same sentences: towns and companies mostly; it is masked, and raises nothing",
        control=True,
    )


def _credentials(results: Results) -> None:
    hits = [
        any(
            k in CREDENTIALS
            and text[a:b]
            and (text[a:b] in value or value in text[a:b] or _shares(text[a:b], value))
            for k, a, b in scan.find(text)
        )
        for text, value in cases.credentials(CASES, SEED)
    ]
    rate(results, "inspection_recall_credential", sum(hits), len(hits),
          f"own cases, {len(cases.CREDENTIALS)} forms of keys, tokens, private keys, connection strings and passwords in "
          "sentences of their own "
          "(bench/tools/inspection_cases.py)", at_least=0.95)  # fmt: skip


def _shares(told: str, value: str) -> bool:
    """Most of a connection string isn't secret: its password is in the finding."""
    return len(told) >= 6 and (told.split("@")[0] in value or told.rstrip(";") in value)


def _injection(results: Results) -> None:
    direct = [a for a in splits.attacks("report") if not a.kind.startswith("indirect")]
    direct_hits = ["injection" in found(asked(a.text)) for a in direct]
    mixed = [(a, text) for i, (a, text) in enumerate(splits.injected("report")) if i % 3 == (i // 3) % 3]
    mail_hits = ["injection" in found(brought(text)) for _, text in mixed]
    hits = [*direct_hits, *mail_hits]
    rate(results, "inspection_recall_injection", sum(hits), len(hits),
          f"held-out families: {len(direct_hits)} jailbreaks as a user's message, {len(mail_hits)} indirect attacks (BIPIA) "
          "each in one "
          "e-mail that "
          "a tool brings; raised to confidential, never lower", at_least=0.85)  # fmt: skip
    rate(
        results,
        "inspection_recall_jailbreak",
        sum(direct_hits),
        len(direct_hits),
        "of these the jailbreaks",
        control=True,
    )
    for kind in ("indirect_text", "indirect_code"):
        hits = [hit for (attack, _), hit in zip(mixed, mail_hits, strict=True) if attack.kind == kind]
        rate(
            results,
            f"inspection_recall_{kind}",
            sum(hits),
            len(hits),
            "of these, in an e-mail that a tool brings",
            control=True,
        )
    bare = [a for a in splits.attacks("report") if a.kind.startswith("indirect")]
    plain = ["injection" in found(asked(a.text)) for a in bare]
    rate(
        results,
        "inspection_indirect_as_request",
        sum(plain),
        len(plain),
        "the same indirect attacks as a user's own request: plain wishes, which are rightly no attempt",
        control=True,
    )
    mails = ["injection" in found(brought(text)) for text in splits.contexts("report")]
    rate(results, "inspection_mail_raised_pct", sum(mails), len(mails),
          "held-out e-mails without an attack, as a tool brings them: taken for "
          "an attempt", control=True, scale=100, unit="%")  # fmt: skip


if __name__ == "__main__":
    rows(Results("policy-inspection"))
