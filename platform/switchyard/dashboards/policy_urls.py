"""Addresses of the pages of policies, below policies/."""

from django.urls import path

from switchyard.dashboards.views.policy import (
    approvals,
    difference,
    editor,
    history,
    proof,
    threshold,
    trial,
    versions,
    what_if,
)

urlpatterns = [
    path("", versions.policies, name="policies"),
    path("new/", editor.new_policy, name="policy-new"),
    path("check/", editor.check, name="policy-check"),
    path("try/", trial.trial, name="policy-try"),
    path("threshold/", threshold.threshold, name="policy-threshold"),
    path("proof/", proof.proof, name="policy-proof"),
    path("history/", history.history, name="policy-history"),
    path("approvals/", approvals.approvals, name="policy-approvals"),
    path("approvals/<str:approval_id>/", approvals.approval, name="policy-approval"),
    path("approvals/<str:approval_id>/<slug:action>/", approvals.decide, name="policy-decide"),
    path("<str:policy_id>/", versions.policy, name="policy"),
    path("<str:policy_id>/difference/", difference.difference, name="policy-difference"),
    path("<str:policy_id>/what-if/", what_if.what_if, name="policy-what-if"),
    path("<str:policy_id>/what-if/start/", what_if.start, name="policy-what-if-start"),
    path("<str:policy_id>/<slug:action>/", versions.policy_action, name="policy-action"),
]
