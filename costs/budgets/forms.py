"""The form of a budget: what the admin, the page of budgets and the command line share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from costs.budgets.changes import save_budget
from costs.budgets.rules import budget_faults, lob_of_scope
from costs.budgets.topups import LARGEST_NUSD
from costs.models import Budget
from switchyard.core.money import NUSD_PER_USD
from switchyard.tenancy.admin_base import UsdField
from switchyard.tenancy.models import ApiKey, Application, LineOfBusiness
from switchyard.tenancy.querysets import Scope

LARGEST_USD = Decimal(LARGEST_NUSD) / NUSD_PER_USD
FIXED = ("scope", "covers")  # another scope is another budget, with a counter of its own
KEYS_OFFERED = 200  # any other one can be typed
LABELS = {
    "scope": _("What it binds"),
    "covers": _("What counts"),
    "period": _("Period"),
    "timezone": _("Time zone of the period"),
    "action": _("At the limit"),
    "on_outage": _("When its counter is out of reach"),
    "warn_pct": _("Warn at, per cent of the limit"),
    "rollover": _("Carry over what is left"),
}
HELP = {
    "scope": _("organisation, lob:<slug>, application:<slug> or key:<id>."),
    "timezone": _("A name of the IANA database, such as Europe/Berlin."),
    "on_outage": _("Requests under a budget that stops are refused then, unless it allows them."),
    "rollover": _("What is left at a period's end is added to the next one."),
}
CHOICES = {
    "covers": (("all", _("everything")), ("labels", _("labels, reviews and feedback"))),
    "period": (("day", _("day")), ("week", _("week")), ("month", _("month")), ("total", _("without an end"))),
    "action": (("warn", _("warn")), ("throttle", _("slow down")), ("stop", _("stop"))),
    "on_outage": (("", _("refuse")), ("allow", _("allow"))),
}


class BudgetForm(forms.ModelForm):
    """Amounts in dollars. `asker` is the part of somebody's scope in which they may write budgets; without one (the admin
    sets it otherwise) the scope is not looked up."""

    limit_nusd = UsdField(label=_("Limit, USD"), max_value=LARGEST_USD)
    rollover_cap_nusd = UsdField(
        label=_("At most this is carried over, USD"), required=False, max_value=LARGEST_USD
    )

    class Meta:
        model = Budget
        fields = [
            "scope", "covers", "limit_nusd", "period", "timezone", "action", "on_outage", "warn_pct", "rollover",
            "rollover_cap_nusd",
        ]  # fmt: skip
        labels = LABELS
        help_texts = HELP
        widgets = {"scope": forms.TextInput(attrs={"list": "budget-scopes", "autocomplete": "off"}),
                   "timezone": forms.TextInput(attrs={"list": "budget-zones", "autocomplete": "off"})}  # fmt: skip

    def __init__(self, *args: Any, asker: Scope | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asker = asker
        for name, choices in CHOICES.items():
            if name in self.fields:
                self.fields[name].choices = choices  # type: ignore[attr-defined]
        if self.instance.pk is not None and asker is not None:
            for name in FIXED:
                self.fields[name].disabled = True

    def clean_scope(self) -> str:
        """Raises ValidationError for what isn't there or not the asker's."""
        scope = self.cleaned_data["scope"]
        if self.asker is not None and self.instance.pk is None:
            try:
                self.instance.lob = lob_of_scope(self.asker, scope)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
            assert self.asker.organisation_id is not None
            self.instance.organisation_id = self.asker.organisation_id
        return scope

    def clean_timezone(self) -> str:
        if self.cleaned_data["timezone"] not in available_timezones():
            raise forms.ValidationError(_("Not a time zone of the IANA database, such as Europe/Berlin."))
        return self.cleaned_data["timezone"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        for name, fault in budget_faults(values).items():
            self.add_error(name if name in self.fields else None, fault)
        if self.asker is not None and not self.errors and self._same_exists(values):
            self.add_error(
                "scope",
                _("It has a budget of this period already: change that one, or choose another period."),
            )
        return values

    def _same_exists(self, values: dict[str, Any]) -> bool:
        same = Budget.objects.filter(
            organisation_id=self.instance.organisation_id,
            **{name: values[name] for name in ("scope", "period", "covers")},
        )
        return same.exclude(pk=self.instance.pk).exists()

    def keep(self, actor: Any) -> Budget:
        """Write the checked row."""
        return save_budget(budget=self.instance, actor=actor, changed=self.changed_data)


def scopes_of(asker: Scope) -> list[str]:
    """What somebody may make a budget for, to choose from."""
    lobs = LineOfBusiness.objects.for_tenant(asker).order_by("slug")
    applications = Application.objects.for_tenant(asker).order_by("slug")
    keys = ApiKey.objects.for_tenant(asker).filter(revoked_at=None).order_by("pk")
    return [
        *(["organisation"] if asker.organisation_id is not None and asker.lob_ids is None else []),
        *(f"lob:{slug}" for slug in lobs.values_list("slug", flat=True)),
        *(f"application:{slug}" for slug in applications.values_list("slug", flat=True)),
        *(f"key:{pk}" for pk in keys.values_list("pk", flat=True)[:KEYS_OFFERED]),
    ]
