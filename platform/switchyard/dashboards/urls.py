"""Addresses of the pages; the language switch and the way in and out beside them."""

from django.urls import path

from switchyard.dashboards.views import (
    accuracy,
    audit,
    decisions,
    economics,
    jobs,
    models,
    money,
    overview,
    policies,
    review,
    spend,
    trials,
)

app_name = "dashboards"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("spend/", spend.spend, name="spend"),
    path("budgets/", money.budgets, name="budgets"),
    path("economics/", economics.economics, name="economics"),
    path("ledger/", money.ledger, name="ledger"),
    path("accuracy/", accuracy.accuracy, name="accuracy"),
    path("review/", review.reviews, name="review"),
    path("review/<int:interception_id>/", review.review_action, name="review-action"),
    path("decisions/", decisions.decisions, name="decisions"),
    path("decisions/<str:decision_id>/", decisions.decision, name="decision"),
    path("policies/", policies.policies, name="policies"),
    path("policies/new/", policies.new_policy, name="policy-new"),
    path("policies/try/", trials.trial, name="policy-try"),
    path("policies/<str:policy_id>/", policies.policy, name="policy"),
    path("policies/<str:policy_id>/<slug:action>/", policies.policy_action, name="policy-action"),
    path("models/", models.models, name="models"),
    path("models/versions/<int:version_id>/<slug:action>/", models.version_action, name="version-action"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/start/<slug:kind>/", jobs.start_job, name="job-start"),
    path("jobs/<str:job_id>/", jobs.job, name="job"),
    path("jobs/<str:job_id>/<slug:action>/", jobs.job_action, name="job-action"),
    path("alerts/", money.alerts, name="alerts"),
    path("alerts/<int:alert_id>/", money.resolve_alert, name="alert-resolve"),
    path("audit/", audit.audit, name="audit"),
]
