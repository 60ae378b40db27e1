"""REST of who is asking: lobs, applications, keys, workloads, users, roles, service-accounts, audit-log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import mixins, serializers
from rest_framework.response import Response

from switchyard.audit.models import AuditEvent
from switchyard.audit.services import record, verify
from switchyard.tenancy.api.base import CrudViewSet, ReadViewSet, TenantViewSet
from switchyard.tenancy.api.serializers import (
    AccountSerializer,
    ApplicationSerializer,
    KeySerializer,
    LobSerializer,
    PersonSerializer,
    UserSerializer,
    WorkloadSerializer,
)
from switchyard.tenancy.models import ROLES, ApiKey, Application, LineOfBusiness, Membership, User, Workload
from switchyard.tenancy.services import bump_config, create_key, create_token, revoke_key


class ConfigViewSet(CrudViewSet):
    """Resources the gateway holds in memory: each write is audited and seen everywhere within 2 s."""

    kind = ""

    def lob_of(self, row: Any) -> str:
        return getattr(getattr(row, "lob", None), "slug", "")

    def _note(self, action: str, row: Any) -> None:
        record(
            actor=self.request.user, action=f"{self.kind}.{action}", target=f"{self.kind}:{row}", lob=self.lob_of(row),
            organisation_id=self.scope.organisation_id, detail={"fields": sorted(self.request.data or {})},
        )  # fmt: skip
        bump_config()

    def extra(self) -> dict[str, Any]:
        """Values a new row gets besides those of the body."""
        return {}

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        try:
            with transaction.atomic():
                row = serializer.save(**self.extra())
        except IntegrityError:
            raise serializers.ValidationError(
                {"name": f"A {self.kind} of this name exists already."}
            ) from None
        self._note("created", row)

    @transaction.atomic
    def perform_update(self, serializer: Any) -> None:
        try:
            with transaction.atomic():
                row = serializer.save()
        except IntegrityError:
            raise serializers.ValidationError(
                {"name": f"A {self.kind} of this name exists already."}
            ) from None
        self._note("changed", row)

    @transaction.atomic
    def perform_destroy(self, row: Any) -> None:
        self._note("deleted", row)
        row.delete()


class LobViewSet(ConfigViewSet):
    queryset = LineOfBusiness.objects.all()
    serializer_class = LobSerializer
    lookup_names = ("slug",)
    write_roles = ("operator",)
    page_order = ("slug", "pk")
    kind = "lob"

    def lob_of(self, row: LineOfBusiness) -> str:
        return row.slug

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()
        return {"organisation_id": self.scope.organisation_id}


class ApplicationViewSet(ConfigViewSet):
    queryset = Application.objects.select_related("lob")
    serializer_class = ApplicationSerializer
    lookup_names = ("slug",)
    write_roles = ("operator",)
    page_order = ("slug", "pk")
    kind = "application"

    def perform_create(self, serializer: Any) -> None:
        if not serializer.validated_data.get("slug"):
            serializer.validated_data["slug"] = (
                slugify(serializer.validated_data["name"])[:63] or "application"
            )
        super().perform_create(serializer)


class WorkloadViewSet(ConfigViewSet):
    queryset = Workload.objects.select_related("lob")
    serializer_class = WorkloadSerializer
    lookup_names = ("name",)
    write_roles = ("operator", "model_engineer")
    page_order = ("name", "pk")
    kind = "workload"

    def extra(self) -> dict[str, Any]:
        return {"organisation_id": self.scope.organisation_id}


class KeyViewSet(mixins.DestroyModelMixin, ReadViewSet):
    """Keys of /v1: the plain key is in the answer to POST and nowhere else; DELETE revokes."""

    queryset = ApiKey.objects.select_related("application__lob")
    serializer_class = KeySerializer
    write_roles = ("operator",)
    page_order = ("-created_at", "pk")

    @extend_schema(
        responses={
            201: inline_serializer("NewKey", {"id": serializers.CharField(), "key": serializers.CharField()}),
        }
    )
    def create(self, request: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        key, plain = create_key(actor=request.user, **values)
        return Response(self.get_serializer(key).data | {"key": plain}, status=201)

    def perform_destroy(self, key: ApiKey) -> None:
        revoke_key(key=key, actor=self.request.user)


class UserViewSet(mixins.ListModelMixin, TenantViewSet):
    """People of the organisation; POST takes {"name", "role", "lobs"?, "password", "email"?}."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    write_roles = ("admin",)
    service = False

    def get_queryset(self) -> Any:
        rows = User.objects.filter(
            is_service=self.service, memberships__organisation_id=self.scope.organisation_id
        )
        if self.scope.lob_ids is not None:
            rows = rows.filter(memberships__lobs__in=self.scope.lob_ids)
        return rows.distinct().prefetch_related("memberships__lobs")

    @extend_schema(request=PersonSerializer, responses={201: UserSerializer})
    def create(self, request: Any) -> Response:
        serializer = PersonSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        try:
            validate_password(values["password"], User(username=values["name"]))
        except DjangoValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from None
        user = self._make(values, User(username=values["name"], email=values["email"]), values["password"])
        return Response(UserSerializer(user).data, status=201)

    @transaction.atomic
    def _make(self, values: dict[str, Any], user: User, password: str | None) -> User:
        user.set_password(password)
        user.save()
        membership = Membership.objects.create(
            user=user, organisation_id=self.scope.organisation_id, role=values["role"]
        )
        membership.lobs.set(values.get("lobs", []))
        record(
            actor=self.request.user, action="account.created", target=f"user:{user.username}",
            organisation_id=self.scope.organisation_id, detail={"role": values["role"], "service": user.is_service},
        )  # fmt: skip
        return user


class ServiceAccountViewSet(UserViewSet):
    """Accounts without a password; POST takes {"name", "role", "lobs"?} and answers the token once."""

    service = True

    @extend_schema(
        request=AccountSerializer,
        responses={
            201: inline_serializer(
                "NewToken", {"id": serializers.IntegerField(), "token": serializers.CharField()}
            )
        },
    )
    def create(self, request: Any) -> Response:
        serializer = AccountSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        user = self._make(values, User(username=values["name"], is_service=True), None)
        _, plain = create_token(user=user, name="first token")
        return Response(UserSerializer(user).data | {"token": plain}, status=201)


class RoleViewSet(TenantViewSet):
    """What roles there are; administrators hold all of them."""

    queryset = LineOfBusiness.objects.none()
    serializer_class = inline_serializer(
        "Role", {"role": serializers.CharField(), "name": serializers.CharField()}
    )

    def list(self, request: Any) -> Response:
        return Response(
            {"results": [{"role": role, "name": name} for role, name in ROLES.items()], "next": None}
        )


class AuditEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditEvent
        fields = ["sequence", "at", "actor", "action", "target", "lob", "detail", "previous_hash", "hash"]


class AuditLogViewSet(mixins.ListModelMixin, TenantViewSet):
    """The hash-chained log, newest first; `?verify=1` checks the whole chain first."""

    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    page_order = ("-sequence",)

    def get_queryset(self) -> Any:
        rows = AuditEvent.objects.filter(organisation_id=self.scope.organisation_id)
        return rows if self.scope.lob_slugs is None else rows.filter(lob__in=self.scope.lob_slugs)

    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        response = super().list(request, *args, **kwargs)
        if request.query_params.get("verify"):
            good, fault = verify()
            response.data["verified"] = {"rows": good, "intact": fault is None, "fault": fault}
        return response
