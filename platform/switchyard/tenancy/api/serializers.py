"""Shapes of lines of business, applications, keys, workloads, people."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from switchyard.tenancy.api.base import ScopedSlugField, StrictSerializer, request_scope
from switchyard.tenancy.models import ROLES, ApiKey, Application, LineOfBusiness, User, Workload


class LimitsField(serializers.Field):
    """{"rpm", "tpm", "concurrency"}; null or absent = no limit."""

    NAMES = ("rpm", "tpm", "concurrency")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="*", required=False, **kwargs)

    def to_representation(self, row: Any) -> dict[str, int | None]:
        return {name: getattr(row, name) for name in self.NAMES}

    def to_internal_value(self, data: Any) -> dict[str, int | None]:
        if data is None:
            return dict.fromkeys(self.NAMES)
        if not isinstance(data, dict) or set(data) - set(self.NAMES):
            raise serializers.ValidationError(f"Expected an object with any of {', '.join(self.NAMES)}.")
        for name, value in data.items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31
            ):
                raise serializers.ValidationError(
                    {name: "Expected a whole number above 0, or null for no limit."}
                )
        return data


class LobSerializer(StrictSerializer):
    limits = LimitsField()
    guard_threshold = serializers.FloatField(min_value=0, max_value=1, required=False)

    class Meta:
        model = LineOfBusiness
        fields = ["id", "slug", "name", "limits", "guard_mode", "guard_threshold", "keep_text", "created_at"]
        read_only_fields = ["id", "created_at"]

    def validate_slug(self, slug: str) -> str:
        scope = request_scope(self.context["request"])
        rows = LineOfBusiness.objects.filter(organisation_id=scope.organisation_id, slug=slug)
        if rows.exclude(pk=getattr(self.instance, "pk", None)).exists():
            raise serializers.ValidationError("A line of business of this slug exists already.")
        return slug


class ApplicationSerializer(StrictSerializer):
    slug = serializers.SlugField(max_length=63, required=False)
    lob = ScopedSlugField(slug_field="slug", queryset=LineOfBusiness.objects.all())
    limits = LimitsField()

    class Meta:
        model = Application
        fields = ["id", "slug", "name", "lob", "limits", "created_at"]
        read_only_fields = ["id", "created_at"]


class KeySerializer(StrictSerializer):
    application = ScopedSlugField(slug_field="slug", queryset=Application.objects.all())
    lob = serializers.CharField(source="application.lob.slug", read_only=True)
    limits = LimitsField()

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "application",
            "lob",
            "name",
            "hint",
            "limits",
            "created_at",
            "expires_at",
            "revoked_at",
        ]
        read_only_fields = ["id", "hint", "created_at", "revoked_at"]


class WorkloadSerializer(StrictSerializer):
    lob = ScopedSlugField(slug_field="slug", queryset=LineOfBusiness.objects.all())
    correct_rule = serializers.DictField(required=False)

    class Meta:
        model = Workload
        fields = [
            "id", "name", "lob", "task", "tier", "sensitivity", "metric", "correct_when", "correct_rule", "data_set",
            "note", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]


class UserSerializer(serializers.ModelSerializer):
    """People and service accounts of the organisation with their roles."""

    roles = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "username", "first_name", "last_name", "email", "is_active", "is_service", "roles"]

    def get_roles(self, user: User) -> list[dict[str, Any]]:
        return [
            {"role": m.role, "lobs": [lob.slug for lob in m.lobs.all()]} for m in user.memberships.all()
        ]  # no LOBs = all of them


class AccountSerializer(serializers.Serializer):
    """What creates a person or a service account: a name, one role, the lines of business it holds in."""

    name = serializers.RegexField(r"^[\w.@+-]{1,150}$")
    role = serializers.ChoiceField(choices=list(ROLES.items()))
    lobs = ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), many=True, required=False
    )

    def validate_name(self, name: str) -> str:
        if User.objects.filter(username=name).exists():
            raise serializers.ValidationError("This name is taken.")
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Nobody makes an account that outranks them."""
        scope = request_scope(self.context["request"])
        if not scope.has_role(attrs["role"]):
            raise serializers.ValidationError({"role": "You can't give a role that you don't hold."})
        if scope.lob_ids is not None and not attrs.get("lobs"):
            raise serializers.ValidationError(
                {"lobs": "Name the lines of business: your own role is limited to some."}
            )
        return attrs


class PersonSerializer(AccountSerializer):
    password = serializers.CharField(write_only=True, min_length=12, max_length=128)
    email = serializers.EmailField(required=False, allow_blank=True, default="")
