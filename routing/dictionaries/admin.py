"""Admin of dictionaries: one term a line."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from routing.dictionaries.models import SensitiveDictionary
from routing.dictionaries.terms import cleaned
from switchyard.tenancy.admin_base import ConfigAdmin


class DictionaryForm(forms.ModelForm):
    """The terms are sealed in the row and plain in the form."""

    terms = forms.CharField(
        label=_("terms"), widget=forms.Textarea(attrs={"rows": 16, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text=_("One a line. Case and what stands between words don't matter."),
    )  # fmt: skip

    class Meta:
        model = SensitiveDictionary
        fields = ["name", "lob", "sensitivity", "active", "note"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["terms"] = "\n".join(self.instance.terms)

    def clean_terms(self) -> list[str]:
        try:
            return cleaned(line for line in self.cleaned_data["terms"].splitlines() if line.strip())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def save(self, commit: bool = True) -> SensitiveDictionary:
        self.instance.terms = self.cleaned_data["terms"]
        return super().save(commit)


@admin.register(SensitiveDictionary)
class DictionaryAdmin(ConfigAdmin):
    form = DictionaryForm
    list_display = ["name", "lob", "sensitivity", "active", "changed_at"]
    list_filter = ["sensitivity", "active"]
    search_fields = ["name", "note"]
