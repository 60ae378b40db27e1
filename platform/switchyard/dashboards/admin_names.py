"""The names that the admin says of models, fields and apps, in the reader's language.

They are set once, over names that are already there: what migrations record stays English. A name that isn't on the list stays
as its model says it.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.utils.translation import gettext_lazy, gettext_noop

OURS = ("audit", "tenancy", "jobs", "costs", "modelhub", "routing")
NAMES = frozenset(
    (
        gettext_noop("API key"),
        gettext_noop("API keys"),
        gettext_noop("access token"),
        gettext_noop("access tokens"),
        gettext_noop("alert"),
        gettext_noop("alerts"),
        gettext_noop("alert target"),
        gettext_noop("alert targets"),
        gettext_noop("application"),
        gettext_noop("applications"),
        gettext_noop("attempt"),
        gettext_noop("attempts"),
        gettext_noop("audit event"),
        gettext_noop("audit events"),
        gettext_noop("bias audit"),
        gettext_noop("bias audits"),
        gettext_noop("bill check"),
        gettext_noop("bill checks"),
        gettext_noop("budget"),
        gettext_noop("budgets"),
        gettext_noop("budget extra"),
        gettext_noop("budget extras"),
        gettext_noop("business event"),
        gettext_noop("business events"),
        gettext_noop("dataset"),
        gettext_noop("datasets"),
        gettext_noop("decision record"),
        gettext_noop("decision records"),
        gettext_noop("deployment"),
        gettext_noop("deployments"),
        gettext_noop("evaluation"),
        gettext_noop("evaluations"),
        gettext_noop("exchange rate"),
        gettext_noop("exchange rates"),
        gettext_noop("feedback"),
        gettext_noop("feedbacks"),
        gettext_noop("interception"),
        gettext_noop("interceptions"),
        gettext_noop("job"),
        gettext_noop("jobs"),
        gettext_noop("ledger entry"),
        gettext_noop("ledger entries"),
        gettext_noop("line of business"),
        gettext_noop("lines of business"),
        gettext_noop("model version"),
        gettext_noop("model versions"),
        gettext_noop("node"),
        gettext_noop("nodes"),
        gettext_noop("node cost"),
        gettext_noop("node costs"),
        gettext_noop("node interval"),
        gettext_noop("node intervals"),
        gettext_noop("organisation"),
        gettext_noop("organisations"),
        gettext_noop("policy"),
        gettext_noop("policies"),
        gettext_noop("policy approval"),
        gettext_noop("policy approvals"),
        gettext_noop("price"),
        gettext_noop("prices"),
        gettext_noop("restatement"),
        gettext_noop("restatements"),
        gettext_noop("user"),
        gettext_noop("users"),
        gettext_noop("workload"),
        gettext_noop("workloads"),
        gettext_noop("workload plan"),
        gettext_noop("workload plans"),
        gettext_noop("Audit"),
        gettext_noop("Tenancy"),
        gettext_noop("Jobs"),
        gettext_noop("Costs"),
        gettext_noop("Modelhub"),
        gettext_noop("Routing"),
        gettext_noop("created at"),
        gettext_noop("created by"),
        gettext_noop("published at"),
        gettext_noop("requested by"),
        gettext_noop("requested at"),
        gettext_noop("decided by"),
        gettext_noop("decided at"),
        gettext_noop("expires at"),
        gettext_noop("revoked at"),
        gettext_noop("recorded at"),
        gettext_noop("started at"),
        gettext_noop("finished at"),
        gettext_noop("valid from"),
        gettext_noop("valid to"),
        gettext_noop("at"),
        gettext_noop("lob"),
        gettext_noop("name"),
        gettext_noop("slug"),
        gettext_noop("kind"),
        gettext_noop("state"),
        gettext_noop("side"),
        gettext_noop("version"),
        gettext_noop("percent"),
        gettext_noop("hash"),
        gettext_noop("document"),
        gettext_noop("note"),
        gettext_noop("report"),
        gettext_noop("reason"),
        gettext_noop("source"),
        gettext_noop("origin"),
        gettext_noop("model"),
        gettext_noop("task"),
        gettext_noop("tier"),
        gettext_noop("sensitivity"),
        gettext_noop("status"),
        gettext_noop("error code"),
        gettext_noop("verdict"),
        gettext_noop("score"),
        gettext_noop("correct"),
        gettext_noop("actor"),
        gettext_noop("action"),
        gettext_noop("target"),
        gettext_noop("detail"),
        gettext_noop("scope"),
        gettext_noop("period"),
        gettext_noop("timezone"),
        gettext_noop("currency"),
        gettext_noop("active"),
        gettext_noop("username"),
        gettext_noop("message"),
        gettext_noop("metric"),
        gettext_noop("progress"),
        gettext_noop("queue"),
        gettext_noop("request id"),
        gettext_noop("decision id"),
        gettext_noop("organisation id"),
        gettext_noop("job id"),
        gettext_noop("key id"),
        gettext_noop("price version"),
        gettext_noop("four eyes"),
        gettext_noop("guard mode"),
        gettext_noop("guard threshold"),
    )
)


def translate_names() -> None:
    """Let every listed name of our models be looked up when it is shown."""
    for label in OURS:
        config: Any = apps.get_app_config(label)
        config.verbose_name = _listed(config.verbose_name)
        for model in config.get_models():
            options: Any = model._meta
            if "verbose_name_plural" in options.original_attrs:
                options.verbose_name_plural = _listed(options.verbose_name_plural)
            else:  # Django's own is the singular with an s behind it, in whatever language
                options.verbose_name_plural = _listed(f"{options.verbose_name_raw}s")
            options.verbose_name = _listed(options.verbose_name)
            for field in options.local_fields:
                field.verbose_name = _listed(field.verbose_name)


def _listed(name: Any) -> Any:
    """What is lazy already (Django's own names, ours that say themselves) stays."""
    return gettext_lazy(name) if isinstance(name, str) and name in NAMES else name
