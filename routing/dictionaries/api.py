"""REST of dictionaries: `dictionaries {"name", "lob"?, "sensitivity", "terms", "active"?, "note"?}`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.dictionaries.models import SensitiveDictionary
from routing.dictionaries.terms import cleaned
from switchyard.tenancy.api.base import ScopedSlugField, StrictSerializer, request_scope
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import LineOfBusiness

WRITERS = ("policy_author", "risk")


class DictionarySerializer(StrictSerializer):
    """Terms are shown to those who may write them; everybody else sees how many there are."""

    lob = ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), required=False, allow_null=True
    )
    terms = serializers.ListField(
        child=serializers.CharField(max_length=400), allow_empty=False, max_length=20_000
    )
    count = serializers.SerializerMethodField()

    class Meta:
        model = SensitiveDictionary
        fields = [
            "id",
            "name",
            "lob",
            "sensitivity",
            "terms",
            "count",
            "active",
            "note",
            "created_at",
            "changed_at",
        ]
        read_only_fields = ["id", "created_at", "changed_at"]
        fixed = ["lob"]

    def get_count(self, row: SensitiveDictionary) -> int:
        return len(row.terms)

    def validate_terms(self, terms: list[str]) -> list[str]:
        try:
            return cleaned(terms)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None

    def to_representation(self, instance: SensitiveDictionary) -> dict[str, Any]:
        told = super().to_representation(instance)
        request = self.context.get("request")
        if request is None or not request_scope(request).has_role(*WRITERS):
            told["terms"] = []
        return told


class DictionaryViewSet(ConfigViewSet):
    """Customers' own terms: a text that holds one is raised to the dictionary's class. One for everybody takes a role in the
    whole organisation."""

    queryset = SensitiveDictionary.objects.select_related("lob")
    serializer_class = DictionarySerializer
    lookup_names = ("name",)
    write_roles = WRITERS
    page_order = ("name", "pk")
    kind, names_it = "dictionary", "name"

    def perform_create(self, serializer: Any) -> None:
        if serializer.validated_data.get("lob") is None:
            self.require_whole_organisation()
        super().perform_create(serializer)

    def extra(self) -> dict[str, Any]:
        return {"organisation_id": self.scope.organisation_id}

    def perform_update(self, serializer: Any) -> None:
        self._require_reach(serializer.instance)
        super().perform_update(serializer)

    def perform_destroy(self, row: SensitiveDictionary) -> None:
        self._require_reach(row)
        super().perform_destroy(row)

    def _require_reach(self, row: SensitiveDictionary) -> None:
        if row.lob is None:
            self.require_whole_organisation()
