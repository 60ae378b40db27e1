"""The demonstration company: six lines of business, their work, and what answers it. Only facts, no code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ORGANISATION = ("demo", "Demonstration company")
LABEL: dict[str, Any] = {"kind": "label"}


@dataclass(frozen=True)
class WorkloadPlan:
    name: str
    task: str
    tier: str
    sensitivity: str
    metric: str
    correct_when: str
    correct_rule: dict[str, Any]
    data_set: str
    note: str = ""


@dataclass(frozen=True)
class LobPlan:
    slug: str
    name: str
    application: str
    application_name: str
    workloads: tuple[WorkloadPlan, ...]
    traffic: str  # the client of the public trace whose day and week this line of business is given
    label_usd: str  # an assumption: what a label costs; over $10 where an expert gives it


@dataclass(frozen=True)
class DeploymentPlan:
    """`heads`: which workloads it answers, as `<model>/<workload>`; empty for a language model."""

    name: str
    side: str
    model: str
    tasks: tuple[str, ...]
    heads: tuple[str, ...] = ()
    note: str = field(default="")


def _text(name: str, tier: str, sensitivity: str, data_set: str, note: str = "") -> WorkloadPlan:
    return WorkloadPlan(
        name, "classification", tier, sensitivity, "accuracy", "label equals", LABEL, data_set, note
    )


LOBS: tuple[LobPlan, ...] = (
    LobPlan(
        "customer-service", "Customer service", "helpdesk", "Help desk",
        (
            _text("support-intent", "edge", "internal", "Banking77"),
            _text("assistant-intent", "edge", "internal", "CLINC150 with out-of-scope"),
            _text("support-sentiment", "edge", "internal", "Sentiment Labelled Sentences"),
            WorkloadPlan(
                "ticket-search", "embedding", "core", "internal", "accuracy",
                "the nearest known question has the same intent", LABEL, "Banking77",
                "Vectors of the text trunk, at home: an answer is no label, so no history is replayed.",
            ),
        ),
        traffic="5", label_usd="0.12",
    ),
    LobPlan(
        "legal", "Legal", "contract-desk", "Contract desk",
        (
            _text("contract-clauses", "core", "confidential", "CUAD, clauses of one type"),
            _text("terms-review", "core", "confidential", "UNFAIR-ToS", "Macro-F1 stands beside accuracy."),
        ),
        traffic="27", label_usd="12.00",
    ),
    LobPlan(
        "healthcare", "Healthcare", "clinic-scribe", "Clinic scribe",
        (
            _text(
                "clinical-notes", "core", "restricted", "MTS-Dialog, section from dialogue",
                "100 validation rows: not enough data for a verdict. Macro-F1 stands beside accuracy.",
            ),
        ),
        traffic="12", label_usd="15.00",
    ),
    LobPlan(
        "manufacturing", "Manufacturing", "plant-monitor", "Plant monitor",
        (
            WorkloadPlan(
                "equipment-fault", "prediction", "core", "internal", "pr_auc",
                "the alarm at the threshold equals machine_failure", LABEL, "AI4I 2020",
                "Always saying no would be right 96.7 % of the time; recall at precision is what counts.",
            ),
            WorkloadPlan(
                "plate-fault", "prediction", "core", "internal", "macro_f1", "the fault equals the data set's",
                LABEL, "Steel plates faults",
            ),
            WorkloadPlan(
                "remaining-life", "prediction", "core", "internal", "rmse",
                "within 20 cycles of the cycles left, capped at 125",
                {"kind": "within", "absolute": 20, "cap": 125}, "NASA C-MAPSS FD001",
            ),
        ),
        traffic="14", label_usd="10.50",
    ),
    LobPlan(
        "supply-chain", "Supply chain", "price-desk", "Price desk",
        (
            WorkloadPlan(
                "price-advice", "prediction", "edge", "internal", "mape", "units within 15 %",
                {"kind": "within", "relative": 0.15}, "seeded retail generator fitted to published elasticities",
            ),
        ),
        traffic="38", label_usd="0.40",
    ),
    LobPlan(
        "engineering", "Engineering", "dev-tools", "Developer tools",
        (
            WorkloadPlan(
                "code-assist", "chat", "experiment", "internal", "humaneval_pass_at_1", "the tests pass",
                {"kind": "tests"}, "HumanEval", "Demonstration model: connect your own.",
            ),
        ),
        traffic="17", label_usd="11.00",
    ),
)  # fmt: skip

TEXT_HEADS = (
    "support-intent", "assistant-intent", "support-sentiment", "contract-clauses", "terms-review", "clinical-notes",
)  # fmt: skip
TABULAR_HEADS = ("equipment-fault", "plate-fault", "remaining-life", "price-advice")

DEPLOYMENTS: tuple[DeploymentPlan, ...] = (
    DeploymentPlan(
        "private-sparse", "private", "txt-base", ("classification", "embedding", "moderation"), TEXT_HEADS,
        "Sparse text model on the company's own machine.",
    ),
    DeploymentPlan(
        "private-tabular", "private", "tabular-base", ("prediction",), TABULAR_HEADS,
        "Predictions from sensor rows and price lists, at home.",
    ),
    DeploymentPlan(
        "private-lm", "private", "lm-tiny", ("chat", "completion"), (),
        "Demonstration language model: connect your own.",
    ),
    DeploymentPlan(
        "ext-mini", "external", "txt-edge", ("classification",), TEXT_HEADS,
        "Compressed text model behind the stand-in vendor's API.",
    ),
    DeploymentPlan(
        "ext-tabular", "external", "tabular-edge", ("prediction",), TABULAR_HEADS,
        "Smaller tabular models behind the stand-in vendor's API.",
    ),
    DeploymentPlan(
        "ext-lm", "external", "lm-tiny", ("chat", "completion"), (),
        "The demonstration language model behind the stand-in vendor's API.",
    ),
)  # fmt: skip

# Versions that ship but answer nothing yet: deployment, artifact, workload.
CANDIDATES = (("private-tabular", "tabular-dgn", "equipment-fault"),)

NODE = "node-cpu-1"
POOL = "cpu"
PLANNED_UTILISATION = "0.500"
# A month's budgets hold labels too: labels stop at theirs, and what is left is for answers.
ORGANISATION_BUDGET_USD, LOB_BUDGET_USD, LABEL_BUDGET_USD = "300000", "50000", "40000"
ENFORCING_LOB = "engineering"  # the guard withholds here even while the others only observe
VIEWER_LOB = "legal"
