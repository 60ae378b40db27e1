"""REST of policies: their life from draft to rollback, trials, differences, what-ifs, history, facts."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from routing.api.policy_serializers import (
    ApprovalSerializer,
    AskSerializer,
    CheckSerializer,
    DiffSerializer,
    FactListSerializer,
    HistorySerializer,
    PolicySerializer,
    PublishSerializer,
    QueuedSerializer,
    TriedSerializer,
    TryDraftSerializer,
    TrySerializer,
    VerdictSerializer,
    WhatIfResultSerializer,
    WhatIfSerializer,
)
from routing.api.rollout_serializers import RolloutSerializer, ShadowingSerializer, ShadowSerializer
from routing.models import Policy, WhatIf
from routing.policy.examples import example_of
from routing.policy.facts import describe
from routing.rollout.watch import told as rollout_told
from routing.selectors.policy_history import history, shadow_results
from routing.selectors.what_ifs import report_for, truth_for
from routing.services import policies as service
from routing.services.drafts import judge
from routing.services.evidence import ask_for_approval, changes
from routing.services.shadows import start_shadow, stop_shadow
from routing.services.trial import try_policy, unsaved_version
from routing.whatif.services import what_if
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, find
from switchyard.tenancy.models import LineOfBusiness, Organisation


class PolicyViewSet(ReadViewSet):
    """POST saves a draft (or refuses it with the request that proves why); `publish` makes it live."""

    queryset = Policy.objects.select_related("lob", "organisation")
    serializer_class = PolicySerializer
    write_roles = ("policy_author", "policy_approver")
    page_order = ("-created_at", "pk")

    def get_queryset(self) -> Any:
        """The organisation's own policy binds everybody, so everybody may read it."""
        rows = super().get_queryset()
        if self.scope.organisation_id is None or self.scope.lob_ids is None:
            return rows
        shared = Policy.objects.filter(organisation_id=self.scope.organisation_id, lob__isnull=True)
        return (rows | shared).select_related("lob", "organisation")

    def create(self, request: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        organisation, lob = self._scope_of(values.get("lob"))
        policy = service.create_draft(
            organisation=organisation, lob=lob, document=values["document"], user=request.user,
            note=values.get("note", ""),
        )  # fmt: skip
        return Response(self.get_serializer(policy).data, status=201)

    def _scope_of(self, lob: LineOfBusiness | None) -> tuple[Organisation, LineOfBusiness | None]:
        if lob is None:
            self.require_whole_organisation()
        return Organisation.objects.get(pk=self.scope.organisation_id), lob

    def _own(self) -> Policy:
        policy = self.get_object()
        if policy.lob_id is None:
            self.require_whole_organisation()
        return policy

    def _form(self, kind: Any) -> dict[str, Any]:
        form = kind(data=self.request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        return form.validated_data

    # --- while it is written ------------------------------------------------------------------------------------------

    @extend_schema(request=CheckSerializer, responses={200: VerdictSerializer})
    @action(detail=False, methods=["post"])
    def check(self, request: Any) -> Response:
        """What saving this document would say: faults with their place and, where there is one, a replacement."""
        values = self._form(CheckSerializer)
        organisation, lob = self._scope_of(values.get("lob"))
        return Response(judge(organisation=organisation, lob=lob, document=values["document"]).as_json())

    @extend_schema(
        operation_id="policies_try_draft", request=TryDraftSerializer, responses={200: TriedSerializer}
    )
    @action(detail=False, methods=["post"], url_path="try")
    def try_draft(self, request: Any) -> Response:
        """As {id}/try, for a document that nobody has saved."""
        values = self._form(TryDraftSerializer)
        organisation, lob = self._scope_of(values.get("lob"))
        version, unsaved = unsaved_version(organisation, lob, values["document"])
        asked = {name: request.data[name] for name in ("facts", "request") if name in request.data}
        return Response(try_policy(version, asked, self.scope, unsaved=unsaved))

    @extend_schema(responses={200: FactListSerializer})
    @action(detail=False, methods=["get"])
    def facts(self, request: Any) -> Response:
        """Every fact a rule may test: its type, meaning, where it may stand, and a condition on it."""
        rows = [row | {"example": example_of(row["name"])} for row in describe()]
        return Response({"results": rows, "next": None})

    # --- a version's life ---------------------------------------------------------------------------------------------

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def validate(self, request: Any, pk: str = "") -> Response:
        return Response(self.get_serializer(service.validate(policy=self._own(), user=request.user)).data)

    @extend_schema(request=PublishSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, request: Any, pk: str = "") -> Response:
        self.require_role("policy_approver")
        values = self._form(PublishSerializer)
        policy = service.publish(policy=self._own(), user=request.user, **values)
        return Response(self.get_serializer(policy).data)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Any, pk: str = "") -> Response:
        """Back to the version before the live one, in the scope of the policy named."""
        self.require_role("policy_approver")
        policy = self._own()
        restored = service.rollback(organisation=policy.organisation, lob=policy.lob, user=request.user)
        return Response(self.get_serializer(restored).data)

    @extend_schema(request=AskSerializer, responses={201: ApprovalSerializer})
    @action(detail=True, methods=["post"], url_path="ask-approval")
    def ask_approval(self, request: Any, pk: str = "") -> Response:
        """Prove it, gather the evidence, and put it into the approvers' queue (GET policy-approvals)."""
        row = ask_for_approval(policy=self._own(), user=request.user, note=self._form(AskSerializer)["note"])
        return Response(ApprovalSerializer(row).data, status=201)

    @extend_schema(methods=["POST"], request=ShadowingSerializer, responses={200: PolicySerializer})
    @extend_schema(methods=["GET"], responses={200: ShadowSerializer})
    @action(detail=True, methods=["get", "post"])
    def shadow(self, request: Any, pk: str = "") -> Response:
        """POST {"on": true | false}: ask it beside the live version, or no longer. GET: what it would have done."""
        if request.method == "POST":
            change = start_shadow if self._form(ShadowingSerializer)["on"] else stop_shadow
            return Response(self.get_serializer(change(policy=self._own(), user=request.user)).data)
        policy = self.get_object()
        rows = [
            {"workload": r["workload"], "live": r["live"], "shadow": r["shadow"], "requests": r["total"],
             "crossings": r["crossed"], "change_usd": format_usd(r["shadow_nusd"] - r["live_nusd"])}
            for r in shadow_results([policy], self.scope)
        ]  # fmt: skip
        return Response({"state": policy.state, "results": rows})

    @extend_schema(responses={200: RolloutSerializer})
    @action(detail=True, methods=["get"])
    def rollout(self, request: Any, pk: str = "") -> Response:
        """The newest watch of this version: its guards, their evidence, and why it ended. 404 before it was published."""
        policy = self.get_object()
        found = rollout_told(policy)
        if found is None:
            raise Http404
        if policy.lob_id is None and self.scope.lob_ids is not None:
            found["metrics"] = []  # of everybody's requests
        return Response(found)

    # --- asked without changing anything ------------------------------------------------------------------------------

    @extend_schema(request=TrySerializer, responses={200: TriedSerializer})
    @action(detail=True, methods=["post"], url_path="try")
    def try_out(self, request: Any, pk: str = "") -> Response:
        """The decision this version would take for {"facts"} or {"request": {"endpoint", "body", "lob"}}."""
        return Response(try_policy(self.get_object(), request.data, self.scope))

    @extend_schema(
        parameters=[OpenApiParameter("against", OpenApiTypes.STR, required=True)],
        responses={200: DiffSerializer},
    )
    @action(detail=True, methods=["get"])
    def diff(self, request: Any, pk: str = "") -> Response:
        """From `?against=` to this version: a unified diff, and what changed rule by rule. By effect: what-if."""
        policy = self.get_object()
        against = request.query_params.get("against")
        if not against:
            raise serializers.ValidationError({"against": "Name the policy to compare with."})
        other = find(self.get_queryset(), against, ())
        same_scope = other.lob_id == policy.lob_id
        return Response({
            "against": other.pk, "policy": policy.pk, "diff": service.diff(other, policy),
            "rules": changes(other, policy) if same_scope else [],
        })  # fmt: skip

    @extend_schema(methods=["POST"], request=WhatIfSerializer, responses={202: QueuedSerializer})
    @extend_schema(
        methods=["GET"], parameters=[OpenApiParameter("report", OpenApiTypes.STR)],
        responses={200: WhatIfResultSerializer},
    )  # fmt: skip
    @action(detail=True, methods=["get", "post"], url_path="what-if")
    def what_if(self, request: Any, pk: str = "") -> Response:
        """POST queues a replay of recorded requests; GET gives the newest result, or the one that `?report=` names."""
        if request.method == "POST":
            policy, values = self._own(), self._form(WhatIfSerializer)
            against = find(self.get_queryset(), values["against"], ()) if values.get("against") else None
            row, job = what_if(policy=policy, days=values["days"], against=against, user=request.user)
            return Response({"job": job.pk, "what_if": row.pk}, status=202)
        return Response(self._result(self.get_object(), request.query_params.get("report", "")))

    def _result(self, policy: Policy, wanted: str) -> dict[str, Any]:
        rows = policy.what_ifs.select_related("policy", "against")
        row: WhatIf | None = (
            find(rows, wanted, ()) if wanted else rows.exclude(report={}).first() or rows.first()
        )
        if row is None:
            raise Http404
        return {
            "id": row.pk, "job": row.job_id, "days": row.days, "against": row.against_id,
            "state": "done" if row.report else "waiting", "created_at": row.created_at,
            "report": report_for(row, self.scope) or None,
            "truth": truth_for(row, self.scope) or None,
        }  # fmt: skip

    @extend_schema(parameters=[OpenApiParameter("lob", OpenApiTypes.STR)], responses={200: HistorySerializer})
    @action(detail=False, methods=["get"])
    def history(self, request: Any) -> Response:
        """Who did what with the versions of a line of business (`?lob=`), or of the organisation; newest first."""
        lob = request.query_params.get("lob", "")
        if lob:
            self.require_lob(lob)
        rows = history(self.scope.organisation_id or 0, lob)
        return Response({"results": [row.as_json() for row in rows], "next": None})
