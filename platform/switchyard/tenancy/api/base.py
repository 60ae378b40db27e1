"""What every REST resource shares: tenancy, roles, look-up by id, slug or name, `{"results", "next"}` lists."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, Q, QuerySet
from django.http import Http404
from rest_framework import mixins, pagination, permissions, routers, serializers, viewsets
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

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

    def get_ordering(self, request: Any, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        return tuple(getattr(view, "page_order", None) or (self.ordering,))


def request_scope(request: Any) -> Scope:
    """The scope of who asks, looked up once a request."""
    if not hasattr(request, "_switchyard_scope"):
        request._switchyard_scope = scope_of(request.user)
    return request._switchyard_scope


class RolePermission(permissions.BasePermission):
    """Members read; writing takes one of the view's `write_roles` (administrators always may)."""

    def has_permission(self, request: Any, view: Any) -> bool:
        scope = request_scope(request)
        if scope.organisation_id is None:
            return False
        if request.method in permissions.SAFE_METHODS:
            readers = getattr(view, "read_roles", None)
            return readers is None or scope.has_role(*readers)
        return scope.has_role(*getattr(view, "write_roles", ()))


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
        return NOBODY if getattr(self, "swagger_fake_view", False) else request_scope(self.request)

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
        if not self.scope.allows_lob(slug):
            raise Http404

    def require_whole_organisation(self) -> None:
        if self.scope.lob_ids is not None:
            raise PermissionDenied(
                "This concerns the whole organisation: it takes a role in all lines of business."
            )


def find(rows: QuerySet, value: str, names: tuple[str, ...]) -> Model:
    """One row by primary key or by a field that names it. Http404 when there is none, or more than one."""
    condition = Q()
    key = rows.model._meta.pk
    try:
        condition |= Q(pk=key.to_python(value))
    except Exception:
        if not names:
            raise Http404 from None
    for name in names:
        condition |= Q(**{name: value})
    found = list(rows.filter(condition)[:2])
    if len(found) != 1:
        raise Http404
    return found[0]


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


class StrictSerializer(serializers.ModelSerializer):
    """Unknown fields are refused by name instead of being dropped in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(sorted(n for n, f in self.fields.items() if not f.read_only))
                raise serializers.ValidationError(
                    {name: [f"Unknown field; known are {known}."] for name in unknown}
                )
        return super().to_internal_value(data)
