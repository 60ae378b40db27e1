"""What can answer: deployments, model versions bound to workloads, data sets, evaluations, audits."""

from modelhub.models.activation import ActivationSource, ExpertActivation
from modelhub.models.datasets import Dataset, StoredFile
from modelhub.models.evaluations import BiasAudit, Evaluation
from modelhub.models.experiments import Experiment, ExperimentArm
from modelhub.models.gates import Canary, GateReport, GateRule
from modelhub.models.golden import GoldenSet
from modelhub.models.labelling import LabelBatch, LabelItem, LabelVote
from modelhub.models.objectives import AccuracyBurn, AccuracyObjective
from modelhub.models.registry import Deployment, ModelVersion

__all__ = [
    "AccuracyBurn",
    "AccuracyObjective",
    "ActivationSource",
    "BiasAudit",
    "Canary",
    "Dataset",
    "Deployment",
    "Evaluation",
    "Experiment",
    "ExperimentArm",
    "ExpertActivation",
    "GateReport",
    "GateRule",
    "GoldenSet",
    "LabelBatch",
    "LabelItem",
    "LabelVote",
    "ModelVersion",
    "StoredFile",
]
