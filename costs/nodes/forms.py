"""The form of a node and of a change of its cost: what the admin and the machines page share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from costs.models import Node, Restatement
from costs.nodes.changes import CARRYING_FIELDS, Change, carrying_faults, change_cost
from costs.nodes.checks import cost_faults
from costs.nodes.restate import restate
from costs.nodes.versions import COST_FIELDS
from switchyard.core.errors import ValidationFailed

# Every amount with its unit.
LABELS = {
    "usd_per_hour": _("Cloud rate, USD an hour"),
    "commitment_usd_per_hour": _("Under a commitment, USD an hour"),
    "commitment_upfront_usd": _("Paid upfront, USD"),
    "commitment_months": _("Upfront covers, months"),
    "capex_usd": _("Purchase, USD"),
    "salvage_usd": _("Worth at the end, USD"),
    "life_months": _("Life, months"),
    "watts": _("Power, W"),
    "pue": _("Power usage effectiveness, ×"),
    "usd_per_kwh": _("Electricity, USD a kWh"),
    "tariff": _("Tariff by hour (JSON)"),
    "tariff_timezone": _("Time zone of the tariff"),
    "rack_usd_per_month": _("Rack, USD a month"),
    "people_usd_per_month": _("People, USD a month"),
    "operations_usd_per_month": _("Operations, USD a month"),
    "planned_utilisation": _("Planned utilisation, 0 to 1"),
    "source": _("Where the figures are from"),
}
HELP = {
    "usd_per_hour": "",
    "commitment_usd_per_hour": "",
    "commitment_months": _("From the moment it is in force."),
}
WIDGETS = {"tariff": forms.Textarea(attrs={"rows": 2})}
MOMENT = forms.DateTimeInput(attrs={"placeholder": "2026-11-25 14:00"})


class CostForm(forms.ModelForm):
    """A change of cost from a moment on; `preview` holds what it would move once the form is valid."""

    valid_from = forms.DateTimeField(
        label=_("In force from (UTC)"),
        required=False,
        widget=MOMENT,
        help_text=_("Empty: now. A time in the past bills its hours again."),
    )
    reason = forms.CharField(label=_("Reason"), required=False, max_length=300)
    preview: Change | None = None

    class Meta:
        model = Node
        fields = COST_FIELDS
        labels = LABELS
        help_texts = HELP
        widgets = WIDGETS

    def clean_valid_from(self) -> datetime | None:
        moment = self.cleaned_data["valid_from"]
        return moment.astimezone(UTC) if moment else None

    def clean_tariff(self) -> list[Any]:
        return self.cleaned_data["tariff"] or []

    def changed_costs(self) -> dict[str, Any]:
        """What was changed on the form: the rest stays as it was at that moment, whatever it is now."""
        return {name: self.cleaned_data[name] for name in COST_FIELDS if name in self.changed_data}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if self.errors:
            return values
        if self.instance.pk is None:
            self._tell(cost_faults({name: values[name] for name in COST_FIELDS}))
            return values
        try:
            self.preview = change_cost(
                node=Node.objects.get(pk=self.instance.pk), values=self.changed_costs(), valid_from=values["valid_from"],
                reason=values["reason"], actor=None, dry_run=True,
            )  # fmt: skip
        except ValidationFailed as fault:
            self._tell({error["path"]: error["message"] for error in fault.errors})
        return values

    def _tell(self, faults: dict[str, str]) -> None:
        for path, text in faults.items():
            self.add_error(path if path in self.fields else None, text)

    @property
    def moves(self) -> Restatement | None:
        """What closed hours it would move, once the form is valid."""
        return self.preview.restatement if self.preview else None

    def apply(self, actor: Any) -> Restatement | None:
        """What it moved. Raises ValidationFailed when what is in force changed since the form was checked."""
        return change_cost(
            node=Node.objects.get(pk=self.instance.pk), values=self.changed_costs(),
            valid_from=self.cleaned_data["valid_from"], reason=self.cleaned_data["reason"], actor=actor,
        ).restatement  # fmt: skip


class NodeForm(CostForm):
    """The whole node. Its organisation is set on the instance before the form is checked."""

    class Meta:
        model = Node
        fields = ("name", *CARRYING_FIELDS, *COST_FIELDS)
        labels = LABELS
        help_texts = HELP
        widgets = WIDGETS

    def clean_idle_shares(self) -> dict[str, Any]:
        return self.cleaned_data["idle_shares"] or {}

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if not self.errors:
            told = Node(
                organisation_id=self.instance.organisation_id, **{n: values[n] for n in CARRYING_FIELDS}
            )
            self._tell(carrying_faults(told))
        return values


class RestateForm(forms.Form):
    """Closed hours of a period, billed again."""

    start = forms.DateTimeField(label=_("From (UTC)"), widget=MOMENT)
    end = forms.DateTimeField(label=_("To (UTC)"), widget=MOMENT)
    reason = forms.CharField(label=_("Reason"), max_length=300)
    moves: Restatement | None = None

    def __init__(self, *args: Any, instance: Node, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance = instance

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.moves = self._restate(None, dry_run=True)
            except ValidationFailed as fault:
                self.add_error(None, fault.message)
        return values

    def apply(self, actor: Any) -> Restatement:
        return self._restate(actor, dry_run=False)

    def _restate(self, actor: Any, *, dry_run: bool) -> Restatement:
        values = self.cleaned_data
        return restate(
            node=self.instance, start=values["start"].astimezone(UTC), end=values["end"].astimezone(UTC),
            reason=values["reason"], actor=actor, dry_run=dry_run,
        )  # fmt: skip
