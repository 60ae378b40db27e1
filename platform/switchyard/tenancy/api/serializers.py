"""Shapes of lines of business, applications, keys, workloads, people."""

from __future__ import annotations

import itertools
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.text import slugify
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from switchyard.core.clock import now
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm, StrictSerializer, request_scope
from switchyard.tenancy.api.fields import UsdField
from switchyard.tenancy.models import (
    ROLES,
    ApiKey,
    Application,
    LineOfBusiness,
    User,
    Workload,
    slug_validator,
)
from switchyard.tenancy.querysets import Scope

LIMIT = {"type": ["integer", "null"], "minimum": 1, "maximum": 2**31 - 1}


@extend_schema_field(
    {
        "type": "object",
        "properties": dict.fromkeys(("rpm", "tpm", "concurrency"), LIMIT),
        "additionalProperties": False,
    }
)
class LimitsField(serializers.Field):
    """{"rpm", "tpm", "concurrency"}; null or absent = no limit."""

    NAMES = ("rpm", "tpm", "concurrency")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="*", required=False, allow_null=True, **kwargs)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Null lifts all limits; with the whole row as source, DRF would read it as a null row."""
        return (False, data) if data is None else super().validate_empty_values(data)

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
    label_usd = UsdField(
        source="label_price_nusd", required=False, max_value=Decimal(1_000_000),
        help_text="Price of a labelled row, a review or an accepted feedback item; 0 books none.",
    )  # fmt: skip

    class Meta:
        model = LineOfBusiness
        fields = [
            "id", "slug", "name", "limits", "guard_mode", "guard_threshold", "label_usd", "keep_text", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]
        fixed = ["slug"]

    def validate_slug(self, slug: str) -> str:
        scope = request_scope(self.context["request"])
        rows = LineOfBusiness.objects.filter(organisation_id=scope.organisation_id, slug=slug)
        if rows.exclude(pk=getattr(self.instance, "pk", None)).exists():
            raise serializers.ValidationError("A line of business of this slug exists already.")
        return slug


class ApplicationSerializer(StrictSerializer):
    """Slugs are unique in the organisation: budgets name an application by its slug alone."""

    slug = serializers.CharField(max_length=63, required=False, validators=[slug_validator])
    lob = ScopedSlugField(slug_field="slug", queryset=LineOfBusiness.objects.all())
    limits = LimitsField()

    class Meta:
        model = Application
        fields = ["id", "slug", "name", "lob", "limits", "created_at"]
        read_only_fields = ["id", "created_at"]
        fixed = ["slug", "lob"]
        validators: list[
            Any
        ] = []  # validate_slug asks more than the constraint does, and slug may be left out

    def validate_slug(self, slug: str) -> str:
        if slug_taken(request_scope(self.context["request"]), slug, self.instance):
            raise serializers.ValidationError("An application of this slug exists already.")
        return slug

    def create(self, values: dict[str, Any]) -> Application:
        values["slug"] = values.get("slug") or free_slug(
            request_scope(self.context["request"]), values["name"]
        )
        return super().create(values)


def slug_taken(scope: Scope, slug: str, but: Application | None = None) -> bool:
    rows = Application.objects.filter(lob__organisation_id=scope.organisation_id, slug=slug)
    return rows.exclude(pk=getattr(but, "pk", None)).exists()


def free_slug(scope: Scope, name: str) -> str:
    """The name as a slug, with a number behind it when somebody has that one."""
    plain = slugify(name)[:50].strip("-_").replace("_", "-") or "application"
    slugs = (plain if n == 1 else f"{plain}-{n}" for n in itertools.count(1))
    return next(slug for slug in slugs if not slug_taken(scope, slug))


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
        fixed = ["application"]

    def validate_expires_at(self, at: datetime | None) -> datetime | None:
        if at is not None and at <= now():
            raise serializers.ValidationError("This lies in the past.")
        return at


class NewKeySerializer(KeySerializer):
    """The whole object with the plain key, which is shown this once."""

    key = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "key"]


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "kind": {"enum": ["label", "within"]},
            **{name: {"type": "number", "minimum": 0} for name in ("absolute", "relative", "cap")},
        },
        "required": ["kind"],
        "additionalProperties": False,
    }
)
class RuleField(serializers.JSONField):
    """{"kind": "label"}, or {"kind": "within", "absolute" | "relative": number, "cap"?: number}."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        data = super().to_internal_value(data)
        if data == {"kind": "label"}:
            return data
        known = {"kind", "absolute", "relative", "cap"}
        if (
            not isinstance(data, dict)
            or data.get("kind") != "within"
            or set(data) - known
            or ("absolute" in data) == ("relative" in data)
            or not all(_is_distance(value) for name, value in data.items() if name != "kind")
        ):
            raise serializers.ValidationError(
                'Expected {"kind": "label"} or {"kind": "within"} with a number for "absolute" or "relative".'
            )
        return data


def _is_distance(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value) and value >= 0


class WorkloadSerializer(StrictSerializer):
    lob = ScopedSlugField(slug_field="slug", queryset=LineOfBusiness.objects.all())
    correct_rule = RuleField(required=False)

    class Meta:
        model = Workload
        fields = [
            "id", "name", "lob", "task", "tier", "sensitivity", "metric", "correct_when", "correct_rule", "data_set",
            "note", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]
        fixed = ["name", "lob", "task"]


class MembershipSerializer(serializers.Serializer):
    role = serializers.ChoiceField(choices=list(ROLES.items()))
    lobs = serializers.ListField(child=serializers.CharField(), help_text="None = all of them.")


class UserSerializer(serializers.ModelSerializer):
    """People and service accounts of the organisation, with what the asker may see of their roles."""

    roles = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "username", "first_name", "last_name", "email", "is_active", "is_service", "roles"]

    @extend_schema_field(MembershipSerializer(many=True))
    def get_roles(self, user: User) -> list[dict[str, Any]]:
        scope = request_scope(self.context["request"])
        rows = []
        for membership in user.memberships.all():
            every = [lob.slug for lob in membership.lobs.all()]
            seen = [slug for slug in every if scope.allows_lob(slug)]
            if membership.organisation_id == scope.organisation_id and (seen or not every):
                rows.append({"role": membership.role, "lobs": seen})
        return rows


class AccountSerializer(StrictForm):
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
        if "role" in attrs and not scope.has_role(attrs["role"]):
            raise serializers.ValidationError({"role": "You can't give a role that you don't hold."})
        if scope.lob_ids is not None and ("role" in attrs or "lobs" in attrs) and not attrs.get("lobs"):
            raise serializers.ValidationError(
                {"lobs": "Name the lines of business: your own role is limited to some."}
            )
        return attrs


class ServiceAccountSerializer(UserSerializer):
    """The whole object with the token, which is shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(UserSerializer.Meta):
        fields = [*UserSerializer.Meta.fields, "token"]


class PersonSerializer(AccountSerializer):
    password = serializers.CharField(write_only=True, min_length=12, max_length=128)
    email = serializers.EmailField(required=False, allow_blank=True, max_length=254, default="")


class AccountChange(AccountSerializer):
    """PATCH: another role (with the lines of business it holds in), another address, or in and out of use."""

    name = None  # type: ignore[assignment]
    email = serializers.EmailField(required=False, allow_blank=True, max_length=254)
    is_active = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "lobs" in attrs and "role" not in attrs:
            raise serializers.ValidationError({"role": "Say which role holds in these lines of business."})
        return super().validate(attrs)
