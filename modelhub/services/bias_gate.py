"""The bias gate of promotion: what the latest audit of exactly this version says, and whether one is owed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from modelhub.models import BiasAudit, Deployment, ModelVersion
from switchyard.jobs.models import Job

MOST_AUDITS_READ = 50


@dataclass(frozen=True, slots=True)
class BiasGateResult:
    """`verdict`: pass | fail | not_enough_data | not_run; `why` is one sentence for people, `figures` what it rests on."""

    verdict: str
    why: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        return self.why


def bias_gate(version: ModelVersion) -> BiasGateResult:
    """Whether this version may go live as far as groups of people are concerned.

    A version made smaller from a teacher (its lineage names one) needs an audit of its own files: without it the gate is
    `not_run`, which is not a pass. A version without a teacher has nobody to have lost against: it passes until an audit of it
    says otherwise. Only classifiers are compared row by row.
    """
    teacher = teacher_of(version)
    if version.workload.task != "classification":
        words = _("Groups are compared for classifiers; this workload's task is %(task)s.")
        return BiasGateResult("pass", words % {"task": version.workload.task}, {"required": False})
    audit = audit_of(version)
    if audit is not None:
        return _judged(audit, teacher)
    if teacher is None:
        words = _(
            "It is nobody's smaller copy, so there is no teacher to have lost a group against; no audit of it has run."
        )
        return BiasGateResult("pass", words, {"required": False})
    figures: dict[str, Any] = {"required": True, "teacher": teacher}
    earlier = _of_other_files(version)
    if earlier is not None:
        words = _("Its files changed since audit %(audit)d: audit it again.") % {"audit": earlier.pk}
        return BiasGateResult("not_run", words, figures | {"audit": earlier.pk})
    words = _("It was made smaller from %(teacher)s and no audit has compared the two by group: run one.")
    return BiasGateResult("not_run", words % {"teacher": teacher}, figures)


def teacher_of(version: ModelVersion) -> str | None:
    """Whom a version was made smaller from, by its lineage; None for one that wasn't."""
    told = version.lineage.get("teacher") or version.lineage.get("compressed_from")
    if isinstance(told, Mapping):
        told = told.get("deployment") or told.get("model") or told.get("version") or told.get("artifact")
    if told:
        return str(told)
    job = version.lineage.get("job")
    if job and Job.objects.filter(pk=str(job), kind="compression").exists():
        return str(version.lineage.get("base") or "its teacher")
    return None


def audit_of(version: ModelVersion) -> BiasAudit | None:
    """The latest audit of this version's present files as the student."""
    return next((row for row in _audits(version) if _same_files(row, version)), None)


def _audits(version: ModelVersion) -> list[BiasAudit]:
    """Audits of this version, newest first, whatever its files were."""
    rows = BiasAudit.objects.filter(workload=version.workload, student=version.deployment.name).order_by(
        "-at"
    )
    return [row for row in rows[:MOST_AUDITS_READ] if _student(row).get("version") == version.version]


def _student(audit: BiasAudit) -> Mapping[str, Any]:
    return (audit.report.get("models") or {}).get("student") or {}


def _same_files(audit: BiasAudit, version: ModelVersion) -> bool:
    return _student(audit).get("digest", "") == version.digest


def _of_other_files(version: ModelVersion) -> BiasAudit | None:
    return next(iter(_audits(version)), None)


def _judged(audit: BiasAudit, teacher: str | None) -> BiasGateResult:
    report = audit.report
    worst = worst_group(report)
    figures: dict[str, Any] = {
        "required": teacher is not None, "audit": audit.pk, "at": audit.at.isoformat(), "teacher": audit.teacher,
        "n": report.get("n"), "limit": report.get("limit"), "n_needed": report.get("n_needed"), "worst_group": worst,
        "emergence": (report.get("counterfactual") or {}).get("emergence"), "failed": failed(report),
    }  # fmt: skip
    told = {"audit": audit.pk, "n": report.get("n") or 0, "teacher": audit.teacher}
    if audit.verdict == "fail":
        words = _("Audit %(audit)d against %(teacher)s failed: %(what)s.") % {
            **told,
            "what": "; ".join(failed(report)),
        }
    elif audit.verdict == "pass":
        words = (
            _("Audit %(audit)d against %(teacher)s on %(n)d rows: no group lost more than the limit.") % told
        )
    else:
        words = _("Audit %(audit)d against %(teacher)s can't tell yet: about %(needed)s rows are needed.")
        words = words % {**told, "needed": report.get("n_needed") or "more"}
    if worst is not None:
        gap = worst["excess_gap"]
        worst_words = _(" Worst: %(group)s, %(value)+.3f [%(low)+.3f, %(high)+.3f].")
        words += worst_words % {"group": worst["group"], **gap}
    return BiasGateResult(audit.verdict, words, figures)


def worst_group(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The group that lost most beyond the rest, among those with enough rows to be shown."""
    rows = [row for row in report.get("groups") or () if row.get("excess_gap")]
    if not rows:
        return None
    row = max(rows, key=lambda row: row["excess_gap"]["value"])
    return {
        "group": row["group"],
        "n": row["n"],
        "excess_gap": dict(row["excess_gap"]),
        "verdict": row["verdict"],
    }


def failed(report: Mapping[str, Any]) -> list[str]:
    """What failed in an audit, in words short enough for a line."""
    found = [
        _("%(group)s lost %(value).1f points more than the rest (at least %(low).1f)")
        % {
            "group": row["group"],
            "value": 100 * row["excess_gap"]["value"],
            "low": 100 * row["excess_gap"]["low"],
        }
        for row in report.get("groups") or ()
        if row.get("verdict") == "fail" and row.get("excess_gap")
    ]
    swaps = report.get("counterfactual") or {}
    if (swaps.get("emergence") or {}).get("verdict") == "fail":
        found.append(_("answers change with a word for a group that the teacher's don't"))
    if (swaps.get("student") or {}).get("verdict") == "fail":
        found.append(_("answers change with a word for a group more often than the limit"))
    found += [
        _("%(suite)s: %(what)s") % {"suite": name, "what": row.get("why", "")}
        for name, row in (report.get("suites") or {}).items()
        if row.get("verdict") == "fail" and row.get("gates")
    ]
    return found


def deployment_of_teacher(version: ModelVersion) -> Deployment | None:
    """Where the teacher answers this workload: the deployment its lineage names, else the live private one."""
    rows = Deployment.objects.filter(organisation_id=version.workload.organisation_id, enabled=True)
    named = rows.filter(name=teacher_of(version) or "").first()
    if named is not None:
        return named
    live = ModelVersion.objects.filter(workload=version.workload, stage="live", deployment__side="private")
    found = live.exclude(pk=version.pk).select_related("deployment").order_by("deployment__name").first()
    return found.deployment if found is not None else None
