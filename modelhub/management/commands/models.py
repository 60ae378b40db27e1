"""Versions on the command line: `manage.py models promote support-intent@ft-ab12`, and gates, canary, rollback, stop, list."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from costs.management.organisation import add_organisation, organisation_named
from modelhub.api.promotion import CanarySerializer
from modelhub.models import Canary, Deployment, ModelVersion
from modelhub.services import promotion
from modelhub.services.bundles import export_bundle, fingerprint, import_bundle
from modelhub.services.canary import start_canary, stop_canary
from modelhub.services.gates import latest_report, unmet
from modelhub.services.gating import start_gates
from modelhub.services.hf_import import import_folder
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.tenancy.models import Organisation, User, Workload
from switchyard.tenancy.querysets import Scope

ACTIONS = ("list", "gates", "canary", "promote", "rollback", "stop", "export", "import", "import-folder")


class Command(BaseCommand):
    help = (
        "Gates, canaries, promotion and rollback of versions, as the pages and REST do it; answers are JSON."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument(
            "version", nargs="?", default="", help="workload@version, or workload alone: its live one."
        )
        add_organisation(parser)
        parser.add_argument("--deployment", help="Where several deployments hold the version.")
        parser.add_argument(
            "--as", dest="username", help="Who decides: the audit log keeps the name, roles are theirs."
        )
        parser.add_argument(
            "--reason", default="", help="Why it goes on against a gate, or why it goes back."
        )
        parser.add_argument("--percent", type=int, help="Of the traffic, for canary.")
        parser.add_argument(
            "--by-hand", action="store_true", help="The canary waits for a hand to make it live."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = organisation_named(options["organisation"])
        rows = ModelVersion.objects.filter(workload__organisation=organisation)
        rows = rows.select_related("deployment", "workload__lob", "workload__organisation")
        if options["action"] == "list":
            for row in rows.order_by("workload__name", "deployment__name", "-created_at"):
                self.stdout.write(
                    f"{row.workload.name}@{row.version}\t{row.deployment.name}\t{row.stage}\t{row.digest[:12]}"
                )
            return
        user = None
        if options["username"]:
            user = User.objects.filter(
                username=options["username"], memberships__organisation=organisation
            ).first()
            if user is None:
                raise CommandError(f"There is no {options['username']!r} in this organisation.")
        if options["action"] in ("import", "import-folder"):
            self._take_in(organisation, user, options)
            return
        version = _one(rows, options)
        try:
            told = getattr(self, f"_{options['action']}")(version, user, options)
        except SwitchyardError as error:
            raise CommandError(f"{error.code}: {error.message}") from None
        self.stdout.write(json.dumps(told, indent=1, default=str, ensure_ascii=False))

    def _gates(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        """The verdicts there are; without any, a run is queued."""
        report = latest_report(version)
        if report is None:
            return {"job": start_gates(version=version, user=user).pk}
        return {
            "at": report.at,
            "results": report.results,
            "against": [row.as_dict() for row in unmet(version, report)],
        }

    def _canary(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        canary = start_canary(
            version=version, user=user, percent=options["percent"], reason=options["reason"],
            automatic=False if options["by_hand"] else None,
        )  # fmt: skip
        return CanarySerializer(canary).data

    def _promote(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        return _told(promotion.promote(version=version, user=user, force_reason=options["reason"]))

    def _rollback(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        return _told(promotion.rollback(version=version, user=user, reason=options["reason"]))

    def _export(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        if options["file"] is None:
            raise CommandError("Name the file to write with --file.")
        scope = Scope(version.workload.organisation_id, None, None, frozenset({"model_engineer"}))
        options["file"].write_bytes(export_bundle(version=version, user=user, scope=scope))
        return {"file": str(options["file"]), "bytes": options["file"].stat().st_size, "key": fingerprint()}

    def _take_in(self, organisation: Organisation, user: User | None, options: Any) -> None:
        """import WORKLOAD --file BUNDLE --deployment D --trusted F · import-folder NAME --file FOLDER."""
        if options["file"] is None:
            raise CommandError("Name the bundle or the folder with --file.")
        try:
            if options["action"] == "import-folder":
                row = import_folder(
                    organisation=organisation, folder=options["file"], name=options["version"], user=user
                )
                told: Any = {
                    "deployment": row.name,
                    "launch": f"manage.py launch_spec {row.name}",
                    "note": row.note,
                }
            else:
                workload = Workload.objects.filter(organisation=organisation, name=options["version"]).first()
                deployment = Deployment.objects.filter(
                    organisation=organisation, name=options["deployment"]
                ).first()
                if workload is None or deployment is None:
                    raise CommandError("Name a workload, and its --deployment.")
                told = _told(
                    import_bundle(
                        content=options["file"].read_bytes(), workload=workload, deployment=deployment, user=user,
                        trusted=options["trusted"],
                    )
                )  # fmt: skip
        except ValidationFailed as error:
            faults = "\n".join(f"  {fault['path']}: {fault['message']}" for fault in error.errors)
            raise CommandError(f"{error.message}\n{faults}") from None
        except SwitchyardError as error:
            raise CommandError(f"{error.code}: {error.message}") from None
        self.stdout.write(json.dumps(told, indent=1, ensure_ascii=False))

    def _stop(self, version: ModelVersion, user: User | None, options: Any) -> Any:
        canary = Canary.objects.filter(version=version, state="running").first()
        if canary is None:
            raise CommandError(f"{version.version} is no canary.")
        return CanarySerializer(stop_canary(canary=canary, user=user, reason=options["reason"])).data


def _one(rows: Any, options: Any) -> ModelVersion:
    """The version that the arguments name. CommandError where it is none or several."""
    workload, _at, version = options["version"].partition("@")
    found = rows.filter(workload__name=workload)
    found = found.filter(version=version) if version else found.filter(stage="live")
    if options["deployment"]:
        found = found.filter(deployment__name=options["deployment"])
    chosen = list(found[:2])
    if len(chosen) != 1:
        some = ", ".join(f"{row.workload.name}@{row.version} on {row.deployment.name}" for row in found)
        raise CommandError(
            f"{options['version']!r} names {'several: ' + some if chosen else 'no version'}; see `models list`."
        )
    return chosen[0]


def _told(version: ModelVersion) -> dict[str, Any]:
    return {
        "workload": version.workload.name, "version": version.version, "deployment": version.deployment.name,
        "stage": version.stage,
    }  # fmt: skip
