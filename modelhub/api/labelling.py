"""REST of the labelling queue: start one, read the next row, say its label, settle, CSV both ways, make a data set."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response

from modelhub.api.serializers import DatasetSerializer
from modelhub.models import LabelBatch, LabelItem
from modelhub.services import labelling
from switchyard.core.errors import NotFound
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, ScopedSlugField, StrictForm, find
from switchyard.tenancy.models import Workload


class BatchSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)
    state = serializers.CharField(read_only=True, help_text="choosing, open, done or failed")
    agreement = serializers.SerializerMethodField(help_text="rows, same, kappa by pair of labellers, alpha")

    class Meta:
        model = LabelBatch
        fields = [
            "id",
            "name",
            "workload",
            "labels",
            "labellers",
            "job_id",
            "state",
            "created_by",
            "created_at",
            "agreement",
        ]

    def get_agreement(self, row: LabelBatch) -> dict[str, Any]:
        return labelling.agreement(row)


class ItemSerializer(serializers.ModelSerializer):
    state = serializers.CharField(read_only=True)
    text = serializers.SerializerMethodField()

    class Meta:
        model = LabelItem
        fields = ["id", "place", "text", "guess", "score", "why", "state", "label"]

    def get_text(self, row: LabelItem) -> str:
        return labelling.text_of(row)


class StartBatch(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    file = serializers.FileField()
    count = serializers.IntegerField(min_value=1, max_value=labelling.MOST_CHOSEN)
    labellers = serializers.IntegerField(min_value=1, max_value=2, required=False, default=1)
    labels = serializers.ListField(child=serializers.CharField(max_length=200), required=False, default=list)


class VoteForm(StrictForm):
    item = serializers.IntegerField(min_value=1)
    label = serializers.CharField(max_length=200)


class FilledForm(StrictForm):
    file = serializers.FileField()


class TakenSerializer(serializers.Serializer):
    taken = serializers.IntegerField()


class LabelViewSet(ReadViewSet):
    """Queues of rows that wait for a label. Texts are read by those who label."""

    queryset = LabelBatch.objects.select_related("workload__lob")
    serializer_class = BatchSerializer
    write_roles = ("model_engineer", "risk", "operator")
    read_roles = ("model_engineer", "risk", "operator")
    parser_classes = [JSONParser, MultiPartParser]
    page_order = ("-created_at", "pk")

    @extend_schema(request={"multipart/form-data": StartBatch}, responses={201: BatchSerializer})
    def create(self, request: Any) -> Response:
        form = StartBatch(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        values = dict(form.validated_data)
        file = values.pop("file")
        batch = labelling.start_batch(user=request.user, name=file.name, content=file.read(), **values)
        return Response(self.get_serializer(batch).data, status=201)

    @extend_schema(responses={200: ItemSerializer})
    @action(detail=True, methods=["get"], url_path="next")
    def following(self, request: Any, pk: str = "") -> Response:
        """The row that teaches most among those that still need the asker; 404 when none does."""
        item = labelling.next_item(self.get_object(), request.user.username)
        if item is None:
            raise NotFound("Nothing waits for you in this queue.")
        return Response(ItemSerializer(item).data)

    @extend_schema(request=VoteForm, responses={200: ItemSerializer})
    @action(detail=True, methods=["post"])
    def vote(self, request: Any, pk: str = "") -> Response:
        return self._said(request, labelling.vote)

    @extend_schema(request=VoteForm, responses={200: ItemSerializer})
    @action(detail=True, methods=["post"])
    def settle(self, request: Any, pk: str = "") -> Response:
        """A third person's word where two differ."""
        return self._said(request, labelling.settle)

    def _said(self, request: Any, change: Any) -> Response:
        batch = self.get_object()
        form = VoteForm(data=request.data)
        form.is_valid(raise_exception=True)
        item = find(batch.items.all(), str(form.validated_data["item"]), ())
        return Response(
            ItemSerializer(change(item=item, user=request.user, label=form.validated_data["label"])).data
        )

    @extend_schema(responses={(200, "text/csv"): str})
    @action(detail=True, methods=["get"])
    def csv(self, request: Any, pk: str = "") -> HttpResponse:
        return HttpResponse(labelling.as_csv(self.get_object()), content_type="text/csv; charset=utf-8")

    @extend_schema(request={"multipart/form-data": FilledForm}, responses={200: TakenSerializer})
    @action(detail=True, methods=["post"])
    def filled(self, request: Any, pk: str = "") -> Response:
        """The CSV with its labels filled in."""
        batch = self.get_object()
        form = FilledForm(data=request.data)
        form.is_valid(raise_exception=True)
        taken = labelling.from_csv(batch=batch, user=request.user, content=form.validated_data["file"].read())
        return Response({"taken": taken})

    @extend_schema(request=EmptySerializer, responses={201: DatasetSerializer})
    @action(detail=True, methods=["post"])
    def dataset(self, request: Any, pk: str = "") -> Response:
        row = labelling.to_dataset(batch=self.get_object(), user=request.user)
        return Response(DatasetSerializer(row).data, status=201)
