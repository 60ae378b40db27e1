"""What can answer: deployments, model versions bound to workloads, data sets, evaluations, audits."""

from modelhub.models.activation import ActivationSource, ExpertActivation
from modelhub.models.datasets import Dataset
from modelhub.models.evaluations import BiasAudit, Evaluation
from modelhub.models.registry import Deployment, ModelVersion

__all__ = [
    "ActivationSource",
    "BiasAudit",
    "Dataset",
    "Deployment",
    "Evaluation",
    "ExpertActivation",
    "ModelVersion",
]
