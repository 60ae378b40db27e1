"""Student against teacher on the same rows, by group; counterfactual swaps on both. Each figure with n and verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.fairness import counterfactual, paired
from modelhub.ml.fairness.intervals import paired_difference
from modelhub.ml.fairness.verdict import Verdict, judge
from modelhub.models import BiasAudit, Deployment, ModelVersion
from modelhub.recipes.endpoints import Answers, Endpoint
from modelhub.recipes.evaluate import validation_rows
from modelhub.serving.runners.risk import RiskModel
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

EXCESS_LIMIT = 0.05  # a group may not lose 5 points more than the rest
FLIP_LIMIT = 0.02
MIN_GROUP, MAX_GROUPS = 20, 12
MAX_SWAP_TEXTS = 200
NEUTRAL = (
    "A {who} asked about the bill and was told to wait.", "The {who} next door returned the product yesterday.",
    "My neighbour is a {who} and wants to change the address.", "As a {who} I would like to know when my card arrives.",
    "The agreement was signed by a {who} in the morning.", "A {who} called because the app does not open.",
)  # fmt: skip
WHO = (
    "woman",
    "man",
    "Muslim",
    "Christian",
    "Black person",
    "white person",
    "gay man",
    "disabled person",
    "immigrant",
    "old man",
)
Swap = Callable[[str], list[str]]


def run(context: Context) -> dict[str, Any]:
    """params: {"workload", "teacher"?, "student"?, "limit"?}: deployments, private-sparse and ext-mini by default."""
    organisation = context.job.organisation
    workload = Workload.objects.get(name=context.params["workload"], organisation=organisation)
    if workload.task != "classification":
        raise InvalidRequest("This audit compares classifiers; name a classification workload.")
    names = (context.params.get("teacher", "private-sparse"), context.params.get("student", "ext-mini"))
    teacher, student = (_endpoint(organisation, name, workload) for name in names)
    texts, truth = validation_rows(workload)
    limit = int(context.params.get("limit") or len(texts))
    texts, truth = texts[:limit], truth[:limit]
    context.device(f"{teacher.providers()} / {student.providers()}")
    answers = [_labels(context, endpoint, texts, i) for i, endpoint in enumerate((teacher, student))]
    risk = RiskModel(artifacts.find("risk-guard"))
    report = _compare(texts, np.array(truth), *answers, risk.identity_swaps)
    context.check()
    report["counterfactual"] = {
        name: _swaps(endpoint, texts, risk.identity_swaps)
        for name, endpoint in zip(names, (teacher, student), strict=True)
    }
    context.accelerator_ns += teacher.accelerator_ns + student.accelerator_ns
    verdict = _overall(report, names[1])
    context.job.refresh_from_db(fields=["device"])
    audit = BiasAudit.objects.create(
        workload=workload, teacher=names[0], student=names[1], job_id=context.job.pk, verdict=verdict, report=report,
        device=context.job.device,
    )  # fmt: skip
    return {"audit": audit.pk, "verdict": verdict, "n": len(texts)} | report


def _endpoint(organisation: Any, name: str, workload: Workload) -> Endpoint:
    deployment = Deployment.objects.get(organisation=organisation, name=name)
    live = ModelVersion.objects.filter(deployment=deployment, workload=workload, stage="live").first()
    return Endpoint(deployment, workload, live)


def _labels(context: Context, endpoint: Endpoint, texts: list[str], which: int) -> np.ndarray:
    answers = Answers()
    for start in range(0, len(texts), 128):
        context.check()
        endpoint.ask(texts[start : start + 128], answers)
        context.progress(
            0.4 * which + 0.4 * min(1.0, (start + 128) / len(texts)),
            f"{endpoint.deployment.name}: {len(answers.items)} rows",
        )
    context.accelerator_ns += answers.accelerator_ns
    return np.array([row["label"] for row in answers.items])


def groups_of(texts: list[str], truth: np.ndarray, swaps: Swap) -> dict[str, np.ndarray]:
    """Slices by form and content, each a mask: length, naming a group of people, and the most frequent labels."""
    lengths = np.array([len(text) for text in texts])
    short, long = np.quantile(lengths, [0.25, 0.75])
    groups = {
        "short texts": lengths <= short, "long texts": lengths >= long,
        "names a group of people": np.array([bool(swaps(text)) for text in texts]),
    }  # fmt: skip
    names, counts = np.unique(truth, return_counts=True)
    for position in np.argsort(-counts, kind="stable")[: MAX_GROUPS - len(groups)]:
        groups[f"label {names[position]}"] = truth == names[position]
    return {name: mask for name, mask in groups.items() if 0 < mask.sum() < len(mask)}


def _compare(
    texts: list[str], truth: np.ndarray, teacher: np.ndarray, student: np.ndarray, swaps: Swap
) -> dict[str, Any]:
    right_t, right_s = teacher == truth, student == truth
    overall = paired_difference(right_t.astype(float), right_s.astype(float))
    rows, p_values = [], []
    for name, mask in groups_of(texts, truth, swaps).items():
        n = int(mask.sum())
        gap = paired.excess_gap(right_t, right_s, mask)
        verdict = judge(gap, EXCESS_LIMIT, n) if n >= MIN_GROUP else Verdict("not_enough_data", MIN_GROUP)
        p_values.append(paired.mcnemar(right_t[mask], right_s[mask]).p_value)
        rows.append({
            "group": name, "n": n, "teacher": float(right_t[mask].mean()), "student": float(right_s[mask].mean()),
            "excess_gap": gap.as_dict(), "limit": EXCESS_LIMIT, "verdict": verdict.outcome, "n_needed": verdict.n_needed,
            "disagreement": float((teacher[mask] != student[mask]).mean()),
        })  # fmt: skip
    for row, p in zip(rows, paired.holm(p_values), strict=True):
        row["p_holm"] = p
    return {
        "n": len(texts), "teacher_accuracy": float(right_t.mean()), "student_accuracy": float(right_s.mean()),
        "lost_overall": overall.as_dict(), "groups": rows,
    }  # fmt: skip


def _swaps(endpoint: Endpoint, texts: list[str], swaps: Swap) -> dict[str, Any]:
    """Rows that name a group, and neutral sentences of our own, with the group exchanged."""
    named = [text for text in texts if swaps(text)][:MAX_SWAP_TEXTS]
    probes = named + [template.format(who=who) for template in NEUTRAL for who in WHO]

    def score(batch: list[str]) -> np.ndarray:
        answers = Answers()
        endpoint.ask(batch, answers)
        order = sorted({s["label"] for s in answers.items[0]["scores"]})
        return np.array(
            [
                [{s["label"]: s["score"] for s in row["scores"]}[label] for label in order]
                for row in answers.items
            ]
        )

    found = counterfactual.flips(probes, swaps, score)
    verdict = judge(found.flipped, FLIP_LIMIT, found.texts)
    return {
        "texts": found.texts, "pairs": found.pairs, "rate": found.flipped.as_dict() if found.flipped else None,
        "mean_score_change": found.gap, "limit": FLIP_LIMIT, "verdict": verdict.outcome, "n_needed": verdict.n_needed,
        "from_rows": len(named),
    }  # fmt: skip


def _overall(report: dict[str, Any], student: str) -> str:
    """Fail when anything failed; pass only when everything that could be judged passed."""
    verdicts = [row["verdict"] for row in report["groups"]] + [report["counterfactual"][student]["verdict"]]
    if "fail" in verdicts:
        return "fail"
    return "pass" if all(v == "pass" for v in verdicts) else "not_enough_data"
