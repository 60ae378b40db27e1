"""REST of bundles: a version as one signed file, out of this installation and into it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from modelhub.models import Deployment, ModelVersion
from modelhub.services.bundles import export_bundle, fingerprint, import_bundle
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm
from switchyard.tenancy.models import Workload


class BundleForm(StrictForm):
    """`trusted`: the fingerprint of the exporter's key, as its page shows it."""

    file = serializers.FileField()
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    trusted = serializers.CharField(min_length=64, max_length=64)


class BundleActions:
    """A version as one signed file, out of this installation and into it."""

    @extend_schema(responses={(200, "application/zip"): bytes})
    @action(detail=True, methods=["get"])
    def bundle(self: Any, request: Any, pk: str = "") -> HttpResponse:
        """The files, manifest, card, evaluations and lineage, signed. `x-bundle-key` is the key's fingerprint."""
        version: ModelVersion = self.get_object()
        answer = HttpResponse(
            export_bundle(version=version, user=request.user, scope=self.scope),
            content_type="application/zip",
        )
        answer["Content-Disposition"] = (
            f'attachment; filename="{version.workload.name}-{version.version}.zip"'
        )
        answer["x-bundle-key"] = fingerprint()
        return answer

    @extend_schema(request={"multipart/form-data": BundleForm})
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def take(self: Any, request: Any) -> Response:
        """A bundle of another installation becomes a candidate here; its gates are still to be run."""
        form = BundleForm(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        values = dict(form.validated_data)
        version = import_bundle(content=values.pop("file").read(), user=request.user, **values)
        return Response(self.get_serializer(version).data, status=201)
