"""REST of imports: folders that wait on this machine, and the job that takes one in."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from modelhub.services.folder_imports import start_import, waiting_folders
from switchyard.jobs.serializers import JobStartedSerializer
from switchyard.tenancy.api.base import StrictForm
from switchyard.tenancy.models import Organisation, slug_validator


class ImportForm(StrictForm):
    """`folder`: one that waits; `name`: of the deployment and the artifact; `base_url`: of the server that will answer."""

    folder = serializers.CharField(max_length=120)
    name = serializers.CharField(max_length=63, validators=[slug_validator])
    base_url = serializers.URLField(required=False, default="http://127.0.0.1:8001/v1")


class WaitingFolderSerializer(serializers.Serializer):
    """A folder that waits; `errors` says what must be mended before it can be taken in."""

    folder = serializers.CharField()
    bytes = serializers.IntegerField()
    parameters = serializers.IntegerField()
    architecture = serializers.CharField()
    errors = serializers.ListField(child=serializers.DictField())


class WaitingFoldersSerializer(serializers.Serializer):
    results = WaitingFolderSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ImportActions:
    """Local Hugging Face folders become deployments that wait for their server."""

    @extend_schema(responses={200: WaitingFoldersSerializer})
    @action(detail=False, methods=["get"], pagination_class=None, filter_backends=[])
    def folders(self: Any, request: Any) -> Response:
        """What lies in the imports of this installation, looked at without loading any of it."""
        self.require_role(*self.write_roles)
        self.require_whole_organisation()
        return Response({"results": waiting_folders(), "next": None})

    @extend_schema(request=ImportForm, responses={202: JobStartedSerializer})
    @action(detail=False, methods=["post"], url_path="import")
    def take_folder(self: Any, request: Any) -> Response:
        """Copies a folder by hash, signs it and registers a deployment that is off until its server answers."""
        self.require_whole_organisation()
        form = ImportForm(data=request.data)
        form.is_valid(raise_exception=True)
        organisation = Organisation.objects.get(pk=self.scope.organisation_id)
        job = start_import(organisation=organisation, user=request.user, **form.validated_data)
        return Response({"job": job.pk}, status=202)
