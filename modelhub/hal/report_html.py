"""The certificate as one HTML file that needs nothing beside it; the same report always gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{border-bottom:1px solid #d5dae1;padding:.3rem .5rem;"
    "text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".native,.complete{color:#0a6b2d}.fallback,.partial{color:#8a5a00}.missing,.refused{color:#a4161a}"
)


def render(body: Mapping[str, Any]) -> str:
    """The whole page."""
    subject, machine, total = body["subject"], body["machine"], body["summary"]
    counts = ", ".join(f"{number} {status}" for status, number in total["operators"].items())
    facts = [
        ("Backend", f"{subject['backend']} ({subject['device']}), {subject['detail']}"),
        ("Machine", f"{machine['name']}, {machine['cores']} cores, {machine['threads']} threads used"),
        ("Instruction sets", ", ".join(machine["isa"]) or "–"),
        ("Copy", _figure(machine["copy_gb_s"], " GB/s")),
        ("Matrix products at best", ", ".join(f"{d} {v:,.0f} GFLOP/s" for d, v in machine["matmul_gflop_s"].items()) or "–"),
        ("TF32", "yes" if machine["tf32"] else "the device has no such format"),
        ("Peak memory growth", f"{body['memory']['peak_growth_bytes'] / 2**20:,.0f} MiB"),
        ("Challenge", body["challenge"]), ("Made", body["made"]),
    ]  # fmt: skip
    verdict = escape(total["verdict"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Device report: {escape(subject["backend"])}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Device report: {escape(subject['backend'])}</h1>"
        f'<p>Verdict: <strong class="{verdict.replace(" ", "-")}">{verdict}</strong>; operators: {escape(counts)}.</p>'
        f"{_table(('What', 'Value'), facts)}<h2>Operators</h2>{_operators(body['operators'])}"
        f"{_model(body['model'])}<p>Errors are the largest difference to float64 relative to the largest magnitude; INT8 is "
        "judged by the share of rows whose label changes. Emulated rows prove numbers, never speed. The JSON report beside "
        "this page carries the signature over both.</p></body></html>\n"
    )


def _operators(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = []
    for row in rows:
        speeds = row["speed"] or [{}]
        for place, speed in enumerate(speeds):
            first = place == 0
            dims = " ".join(f"{letter}={size}" for letter, size in speed.get("dims", {}).items())
            share = speed.get("share_of_ceiling")
            shown.append((
                row["operator"] if first else "", row["implementation"] if first else "", row["status"] if first else "",
                _error(row) if first else "", dims, _figure(speed.get("ms"), " ms"), _figure(speed.get("gflop_s"), ""),
                f"{share:.0%}" if share else "–", f"{row['weight_bytes'] / 1024:,.0f} KiB" if first else "",
                row["why"] if first else speed.get("why", ""),
            ))  # fmt: skip
    head = (
        "Operator",
        "Implementation",
        "Status",
        "Error / allowed",
        "Shape",
        "Time",
        "GFLOP/s",
        "Of ceiling",
        "Weights",
        "Note",
    )
    return _table(head, shown, numbers=(5, 6, 7, 8))


def _error(row: Mapping[str, Any]) -> str:
    return f"{row['error']:.1e} / {row['allowed']:.0e}" if row["error"] is not None else "–"


def _model(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    shown = [
        (r["name"], "emulated" if r["emulated"] else r["runs_on"] or "–", "passed" if r["passed"] else "failed",
         f"{r['agreement']:.2%}" if r["agreement"] is not None else "–", _figure(r["error"], "", ".1e"), r["why"])
        for r in rows
    ]  # fmt: skip
    return "<h2>A model on it</h2>" + _table(
        ("Form", "Ran on", "Result", "Labels agree", "Error", "Note"), shown
    )


def _figure(value: float | None, unit: str, form: str = ",.3g") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cells(words: Sequence[str], tag: str) -> str:
        found = []
        for place, word in enumerate(words):
            kind = (
                ' class="n"'
                if place in numbers
                else f' class="{word}"'
                if word in ("native", "fallback", "missing", "refused")
                else ""
            )
            found.append(f"<{tag}{kind}>{escape(str(word))}</{tag}>")
        return "".join(found)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
