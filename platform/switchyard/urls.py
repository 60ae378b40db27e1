"""The whole URL map; /v1/* never comes here (the gateway's front takes it first)."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from costs.api.alerts import AlertTargetViewSet, AlertViewSet
from costs.api.books import BookCheckViewSet, FiscalPeriodViewSet, LedgerViewSet
from costs.api.budgets import BudgetViewSet, TopUpViewSet
from costs.api.exchange_rates import ExchangeRateViewSet
from costs.api.exports import ExportViewSet
from costs.api.nodes import NodeViewSet
from costs.api.plans import BusinessEventViewSet, WorkloadPlanViewSet
from costs.api.prices import PriceViewSet
from costs.api.reconciliation import ReconciliationViewSet
from costs.api.reports import ReportViewSet
from modelhub.api.adapters import AdapterViewSet
from modelhub.api.catalogue import CatalogueViewSet
from modelhub.api.compressions import CompressionViewSet
from modelhub.api.devices import DeviceViewSet
from modelhub.api.experiments import ExperimentViewSet
from modelhub.api.experts import ActivationViewSet, ExpertsViewSet
from modelhub.api.labelling import LabelViewSet
from modelhub.api.objectives import ObjectiveViewSet
from modelhub.api.promotion import CanaryViewSet, GateRuleViewSet, GoldenViewSet
from modelhub.api.views import (
    AuditViewSet,
    DatasetViewSet,
    DeploymentViewSet,
    EvaluationViewSet,
    FineTuneViewSet,
    VersionViewSet,
)
from routing.api.approvals import ApprovalViewSet
from routing.api.bias import BiasEvidenceViewSet, BiasMonitorViewSet
from routing.api.health import UpstreamHealthViewSet
from routing.api.learned import CascadeViewSet, RoutingFitViewSet
from routing.api.policies import PolicyViewSet
from routing.api.proofs import ProofViewSet
from routing.api.views import DecisionViewSet, InterceptionViewSet
from routing.dictionaries.api import DictionaryViewSet
from switchyard.gateway.batches.api import BatchViewSet
from switchyard.jobs.views import JobViewSet
from switchyard.tenancy.api.base import ApiRouter, NothingHere
from switchyard.tenancy.api.views import (
    ApplicationViewSet,
    AuditLogViewSet,
    KeyViewSet,
    LobViewSet,
    RoleViewSet,
    ServiceAccountViewSet,
    UserViewSet,
    WorkloadViewSet,
)

RESOURCES = {
    "lobs": LobViewSet, "applications": ApplicationViewSet, "keys": KeyViewSet, "workloads": WorkloadViewSet,
    "users": UserViewSet, "service-accounts": ServiceAccountViewSet, "roles": RoleViewSet, "audit-log": AuditLogViewSet,
    "deployments": DeploymentViewSet, "models": VersionViewSet, "datasets": DatasetViewSet,
    "activations": ActivationViewSet, "experts": ExpertsViewSet, "devices": DeviceViewSet, "adapters": AdapterViewSet,
    "evaluations": EvaluationViewSet, "audits": AuditViewSet, "fine-tunes": FineTuneViewSet, "jobs": JobViewSet,
    "compressions": CompressionViewSet, "catalogue": CatalogueViewSet, "batches": BatchViewSet,
    "upstream-health": UpstreamHealthViewSet,
    "policies": PolicyViewSet, "policy-approvals": ApprovalViewSet, "decisions": DecisionViewSet,
    "interceptions": InterceptionViewSet, "proofs": ProofViewSet,
    "bias-monitors": BiasMonitorViewSet,
    "nodes": NodeViewSet, "prices": PriceViewSet, "budgets": BudgetViewSet, "ledger": LedgerViewSet,
    "fiscal-periods": FiscalPeriodViewSet, "book-checks": BookCheckViewSet,
    "exchange-rates": ExchangeRateViewSet, "alerts": AlertViewSet, "alert-targets": AlertTargetViewSet, "top-ups": TopUpViewSet,
    "reports": ReportViewSet, "reconciliations": ReconciliationViewSet, "exports": ExportViewSet,
    "label-queues": LabelViewSet, "accuracy-objectives": ObjectiveViewSet, "experiments": ExperimentViewSet,
    "canaries": CanaryViewSet, "golden-sets": GoldenViewSet, "gate-rules": GateRuleViewSet,
    "dictionaries": DictionaryViewSet, "routing-fits": RoutingFitViewSet, "cascade-thresholds": CascadeViewSet,
    "workload-plans": WorkloadPlanViewSet, "business-events": BusinessEventViewSet,
}  # fmt: skip
router = ApiRouter()
for name, view in RESOURCES.items():
    router.register(name, view, basename=name)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    re_path(r"^api/v1/schema/?$", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^api/v1/docs/?$", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="api-docs"),
    re_path(r"^api/v1/bias-evidence/(?P<pk>[^/]+)/?$", BiasEvidenceViewSet.as_view({"get": "retrieve"})),
    re_path(r"^api/v1/", include(router.urls)),
    re_path(r"^api/", NothingHere.as_view()),
    path("", include("switchyard.dashboards.session_urls")),
    path("", include("switchyard.dashboards.urls")),
]
