"""What every REST resource shares: tenancy, roles, look-up by id, slug or name, `{"results", "next"}` lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import InvalidOperation
from typing import Any

from django.core.exceptions import MultipleObjectsReturned
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, pagination, permissions, routers, serializers, views, viewsets
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.response import Response

from switchyard.tenancy.models import ROLES, LineOfBusiness
from switchyard.tenancy.querysets import NOBODY, Scope, scope_of


class ApiRouter(routers.SimpleRouter):
    """Every path answers with and without its last slash, POST included."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


class Pages(pagination.CursorPagination):
    """Keyset pages: `next` is absolute or null; `?page_size=` up to 500."""

    page_size = 100
    max_page_size = 500
    page_size_query_param = "page_size"
    ordering = "-pk"

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        following = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": following},
        }

    def paginate_queryset(self, queryset: QuerySet, request: Any, view: Any = None) -> Any:
        """A cursor that was made up names a place that the column can't hold: 404, as for one that can't be read."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, TypeError, OverflowError, InvalidOperation, DjangoValidationError):
            raise NotFound("The cursor is not one of this list.") from None

    def get_ordering(self, request: Any, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        return tuple(getattr(view, "page_order", None) or (self.ordering,))


def request_scope(request: Any) -> Scope:
    """The scope of who asks, looked up once a request."""
    if not hasattr(request, "_switchyard_scope"):
        request._switchyard_scope = scope_of(request.user)
    return request._switchyard_scope


class RolePermission(permissions.BasePermission):
    """Members read; writing takes one of the view's `write_roles` (administrators always may).

    From here on the request's scope is only the part in which the asker holds such a role.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        scope = request_scope(request)
        reading = request.method in permissions.SAFE_METHODS
        roles = getattr(view, "read_roles", None) if reading else getattr(view, "write_roles", ())
        if roles is not None:
            scope = request._switchyard_scope = scope.narrowed(*roles)
        return scope.organisation_id is not None


class TenantViewSet(viewsets.GenericViewSet):
    """Rows of the asker's organisation and lines of business only; anything else is 404."""

    permission_classes = [permissions.IsAuthenticated, RolePermission]
    pagination_class = Pages
    lookup_value_regex = r"[^/]+"
    lookup_names: tuple[str, ...] = ()  # fields besides the primary key that name one object
    write_roles: tuple[str, ...] = ()
    page_order: tuple[str, ...] = ("-pk",)

    @property
    def scope(self) -> Scope:
        return NOBODY if self.drawing else request_scope(self.request)

    @property
    def drawing(self) -> bool:
        """The schema is being drawn: there is no request."""
        return getattr(self, "swagger_fake_view", False)

    def get_queryset(self) -> QuerySet:
        return self.queryset._chain().for_tenant(self.scope)  # type: ignore[union-attr]

    def get_object(self) -> Any:
        found = find(
            self.filter_queryset(self.get_queryset()), self.kwargs[self.lookup_field], self.lookup_names
        )
        self.check_object_permissions(self.request, found)
        return found

    def require_lob(self, slug: str) -> None:
        """404 when the asker may not see the line of business; nothing tells whether it exists."""
        known = LineOfBusiness.objects.for_tenant(self.scope)
        if "\x00" in slug or not known.filter(slug=slug).exists():
            raise Http404

    def require_role(self, *roles: str) -> None:
        """403 unless the asker holds one; the rest of the request is narrowed to where they do."""
        scope = self.request._switchyard_scope = self.scope.narrowed(*roles)
        if scope.organisation_id is None:
            raise PermissionDenied(f"This takes the role {' or '.join(ROLES[role] for role in roles)}.")

    def require_whole_organisation(self) -> None:
        if self.scope.lob_ids is not None:
            raise PermissionDenied(
                "This concerns the whole organisation: it takes a role in all lines of business."
            )


def find(rows: QuerySet, value: str, names: tuple[str, ...]) -> Any:
    """One row by a field that names it, else by primary key. Http404 when there is none, or more than one."""
    if "\x00" in value:  # no column holds it, and PostgreSQL refuses to compare with it
        raise Http404
    for name in names:
        found = list(rows.filter(**{name: value})[:2])
        if len(found) == 1:
            return found[0]
    try:
        key = rows.model._meta.pk.to_python(value)
    except (DjangoValidationError, ValueError, OverflowError):
        raise Http404 from None
    row = rows.filter(pk=key).first()
    if row is None:
        raise Http404
    return row


def narrowed_by(rows: QuerySet, request: Any, lookups: Mapping[str, str] | Iterable[str]) -> QuerySet:
    """The rows that the query string asks for; a value the column can't hold finds nothing."""
    pairs = lookups.items() if isinstance(lookups, Mapping) else ((name, name) for name in lookups)
    for name, lookup in pairs:
        value = request.query_params.get(name)
        if not value:
            continue
        try:
            rows = rows.none() if "\x00" in value else rows.filter(**{lookup: value})
        except (DjangoValidationError, ValueError, OverflowError):
            rows = rows.none()
    return rows


def filters(*names: str) -> list[OpenApiParameter]:
    """What `narrowed_by` understands, for the schema."""
    return [OpenApiParameter(name, OpenApiTypes.STR) for name in names]


class ReadViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, TenantViewSet):
    """GET one, GET many."""


class CrudViewSet(mixins.CreateModelMixin, mixins.UpdateModelMixin, mixins.DestroyModelMixin, ReadViewSet):
    """GET, POST, PATCH, DELETE; PUT is refused, since a partial change says what it means."""

    http_method_names = ["get", "post", "patch", "delete", "head", "options"]


class ScopedSlugField(serializers.SlugRelatedField):
    """A reference by slug or name among what the asker may see."""

    def get_queryset(self) -> QuerySet:
        request = self.context.get("request")
        return self.queryset._chain().for_tenant(request_scope(request) if request else NOBODY)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return super().to_internal_value(data)
        except MultipleObjectsReturned:
            raise serializers.ValidationError(f"{data!r} names more than one object.") from None


class StrictMixin:
    """Unknown fields are refused by name instead of being dropped in silence.

    `Meta.fixed`: what is said once, since rows of history keep these names as text.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))  # type: ignore[attr-defined]
            if unknown:
                known = ", ".join(sorted(n for n, f in self.fields.items() if not f.read_only))  # type: ignore[attr-defined]
                raise serializers.ValidationError(
                    {name: [f"Unknown field; known are {known}."] for name in unknown}
                )
        values = super().to_internal_value(data)  # type: ignore[misc]
        self._refuse_changes(values)
        return values

    def _refuse_changes(self, values: Any) -> None:
        row = getattr(self, "instance", None)
        for name in getattr(getattr(self, "Meta", None), "fixed", ()) if row is not None else ():
            if name in values and values[name] != getattr(row, name):
                raise serializers.ValidationError(
                    {name: "This can't be changed: the records keep it. Create another."}
                )


class StrictSerializer(StrictMixin, serializers.ModelSerializer):
    """Of a table."""


class StrictForm(StrictMixin, serializers.Serializer):
    """Of no table."""


class EmptySerializer(StrictForm):
    """A body that says nothing: `{}` or none."""


@extend_schema(exclude=True)
class NothingHere(views.APIView):
    """Any other path of the API: 404 in the API's own shape."""

    permission_classes: list[Any] = []

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        raise Http404
