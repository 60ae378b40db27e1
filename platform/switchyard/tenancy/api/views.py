"""REST of who is asking: lobs, applications, keys, workloads, users, roles, service-accounts, audit-log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.response import Response

from switchyard.audit.models import AuditEvent
from switchyard.audit.services import record, verify
from switchyard.core.errors import Conflict
from switchyard.tenancy import accounts
from switchyard.tenancy.api.base import CrudViewSet, ReadViewSet, TenantViewSet
from switchyard.tenancy.api.serializers import (
    AccountChange,
    AccountSerializer,
    ApplicationSerializer,
    KeySerializer,
    LobSerializer,
    NewKeySerializer,
    PersonSerializer,
    ServiceAccountSerializer,
    UserSerializer,
    WorkloadSerializer,
)
from switchyard.tenancy.models import ROLES, ApiKey, Application, LineOfBusiness, User, Workload
from switchyard.tenancy.services import bump_config, create_key, create_token, revoke_key


class ConfigViewSet(CrudViewSet):
    """Resources the gateway holds in memory: each write is audited and seen everywhere within 2 s."""

    kind = ""
    names_it = "name"  # the field that a duplicate is a fault of

    def lob_of(self, row: Any) -> str:
        return getattr(getattr(row, "lob", None), "slug", "")

    def name_of(self, row: Any) -> str:
        return str(row)

    def _note(self, action: str, row: Any) -> None:
        record(
            actor=self.request.user, action=f"{self.kind}.{action}", target=f"{self.kind}:{self.name_of(row)}",
            lob=self.lob_of(row), organisation_id=self.scope.organisation_id, detail={"fields": sorted(self.request.data or {})},
        )  # fmt: skip
        bump_config()

    def extra(self) -> dict[str, Any]:
        """Values a new row gets besides those of the body."""
        return {}

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        self._note("created", self._save(serializer, **self.extra()))

    @transaction.atomic
    def perform_update(self, serializer: Any) -> None:
        self._note("changed", self._save(serializer))

    def _save(self, serializer: Any, **extra: Any) -> Any:
        try:
            with transaction.atomic():
                return serializer.save(**extra)
        except IntegrityError:
            raise serializers.ValidationError(
                {self.names_it: f"Such a {self.kind} exists already."}
            ) from None

    @transaction.atomic
    def perform_destroy(self, row: Any) -> None:
        self._note("deleted", row)
        try:
            row.delete()
        except ProtectedError as error:
            users = ", ".join(sorted(str(user) for user in error.protected_objects)[:5])
            raise Conflict(f"This {self.kind} is in use by {users}.", code="in_use") from None


class LobViewSet(ConfigViewSet):
    """Lines of business. Making and deleting one takes a role in the whole organisation."""

    queryset = LineOfBusiness.objects.all()
    serializer_class = LobSerializer
    lookup_names = ("slug",)
    write_roles = ("operator",)
    page_order = ("slug", "pk")
    kind, names_it = "lob", "slug"

    def lob_of(self, row: LineOfBusiness) -> str:
        return row.slug

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()
        return {"organisation_id": self.scope.organisation_id}

    def perform_destroy(self, row: LineOfBusiness) -> None:
        self.require_whole_organisation()
        super().perform_destroy(row)


class ApplicationViewSet(ConfigViewSet):
    """Applications of a line of business; without `slug` it is made of the name."""

    queryset = Application.objects.select_related("lob")
    serializer_class = ApplicationSerializer
    lookup_names = ("slug",)
    write_roles = ("operator",)
    page_order = ("slug", "pk")
    kind, names_it = "application", "slug"


class WorkloadViewSet(ConfigViewSet):
    """Pieces of business work: what is asked, how sensitive it is, what counts as right."""

    queryset = Workload.objects.select_related("lob")
    serializer_class = WorkloadSerializer
    lookup_names = ("name",)
    write_roles = ("operator", "model_engineer")
    page_order = ("name", "pk")
    kind = "workload"

    def extra(self) -> dict[str, Any]:
        return {"organisation_id": self.scope.organisation_id}


class KeyViewSet(ConfigViewSet):
    """Keys of /v1: the plain key is in the answer to POST and nowhere else; DELETE revokes, the row stays."""

    queryset = ApiKey.objects.select_related("application__lob")
    serializer_class = KeySerializer
    write_roles = ("operator",)
    page_order = ("-created_at", "pk")
    kind = "key"

    def lob_of(self, row: ApiKey) -> str:
        return row.application.lob.slug

    def name_of(self, row: ApiKey) -> str:
        return row.pk

    @extend_schema(responses={201: NewKeySerializer})
    def create(self, request: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, plain = create_key(actor=request.user, **serializer.validated_data)
        return Response(self.get_serializer(key).data | {"key": plain}, status=201)

    def perform_destroy(self, row: ApiKey) -> None:
        if row.revoked_at is None:
            revoke_key(key=row, actor=self.request.user)


class UserViewSet(ReadViewSet):
    """People of the organisation; POST takes {"name", "role", "lobs"?, "password", "email"?}."""

    queryset = User.objects.all()
    serializer_class = UserSerializer
    lookup_names = ("username",)
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
        values = self.checked(PersonSerializer)
        try:
            validate_password(values["password"], User(username=values["name"]))
        except DjangoValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from None
        return Response(self.get_serializer(self.made(values)).data, status=201)

    @extend_schema(request=AccountChange, responses={200: UserSerializer})
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        user, values = self.get_object(), self.checked(AccountChange, partial=True)
        accounts.change_account(actor=request.user, scope=self.scope, user=user, **values)
        return Response(self.get_serializer(self.get_queryset().get(pk=user.pk)).data)

    def destroy(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        accounts.remove_account(actor=request.user, scope=self.scope, user=self.get_object())
        return Response(status=204)

    def checked(self, form: type[AccountSerializer], **options: Any) -> dict[str, Any]:
        serializer = form(data=self.request.data, context=self.get_serializer_context(), **options)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def made(self, values: dict[str, Any]) -> User:
        organisation_id = self.scope.organisation_id
        assert organisation_id is not None
        return accounts.create_account(
            actor=self.request.user, organisation_id=organisation_id, is_service=self.service, **values
        )


class ServiceAccountViewSet(UserViewSet):
    """Accounts without a password; POST takes {"name", "role", "lobs"?} and answers the token once."""

    service = True

    @extend_schema(request=AccountSerializer, responses={201: ServiceAccountSerializer})
    def create(self, request: Any) -> Response:
        values = self.checked(AccountSerializer)
        with transaction.atomic():
            user = self.made(values)
            _, plain = create_token(user=user, name="first token")
        return Response(self.get_serializer(user).data | {"token": plain}, status=201)


class RoleSerializer(serializers.Serializer):
    role = serializers.CharField()
    name = serializers.CharField()


class RoleViewSet(TenantViewSet):
    """What roles there are; administrators hold all of them."""

    queryset = LineOfBusiness.objects.none()
    serializer_class = RoleSerializer

    def list(self, request: Any) -> Response:
        rows = [{"role": role, "name": name} for role, name in ROLES.items()]
        return Response({"results": rows, "next": None})


class AuditEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = AuditEvent
        fields = ["sequence", "at", "actor", "action", "target", "lob", "detail", "previous_hash", "hash"]


class AuditLogViewSet(mixins.ListModelMixin, TenantViewSet):
    """The hash-chained log, newest first; `?verify=1` checks the whole chain first (a role in all LOBs)."""

    queryset = AuditEvent.objects.all()
    serializer_class = AuditEventSerializer
    page_order = ("-sequence",)

    def get_queryset(self) -> Any:
        rows = AuditEvent.objects.filter(organisation_id=self.scope.organisation_id)
        return rows if self.scope.lob_slugs is None else rows.filter(lob__in=self.scope.lob_slugs)

    @extend_schema(parameters=[OpenApiParameter("verify", OpenApiTypes.STR)])
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        if not request.query_params.get("verify"):
            return super().list(request, *args, **kwargs)
        self.require_whole_organisation()
        good, fault = verify()
        response = super().list(request, *args, **kwargs)
        response.data["verified"] = {"rows": good, "intact": fault is None, "fault": fault}
        return response
