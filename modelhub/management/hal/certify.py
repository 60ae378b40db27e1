"""`manage.py hal certify --backend openvino --challenge …`: a signed report of what a device does; --verify reads one."""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from modelhub import artifacts
from modelhub.hal import ceilings, certify, report_html, signature, tuning

HELP = "Coverage, tolerance, speed and memory of a backend as one signed JSON and HTML report; --verify checks one."
KEY = "certify.key"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--backend", help="One of `manage.py hal list`.")
    parser.add_argument(
        "--challenge", default="", help="The buyer's word; it seeds every vector and stands in the report."
    )
    parser.add_argument("--out", default=".", help="Folder for device-report-<backend>.json and .html.")
    parser.add_argument(
        "--model", default="txt-base", help="A model whose graph runs on the device too; empty for none."
    )
    parser.add_argument("--key", help="Private key file; made under SWITCHYARD_HOME/hal/ when left out.")
    parser.add_argument(
        "--verify", metavar="REPORT", help="Check a report's signature, its HTML beside it, its challenge."
    )
    parser.add_argument("--trust", help="With --verify: the fingerprint the signer must have.")


def handle(options: dict[str, Any], out: Any) -> None:
    if options["verify"]:
        check(Path(options["verify"]), options, out)
        return
    if not options["backend"] or not options["challenge"]:
        raise CommandError("Give --backend and --challenge (any text the buyer chose), or --verify REPORT.")
    make(options, out)


def make(options: dict[str, Any], out: Any) -> None:
    held = tuning.library()
    profile = held.profile if held.profile.copy_gb_s else ceilings.measure(held.registry, held.profile)
    subject = certify.Subject(options["backend"], options["challenge"], held.registry, profile, held.tuner)
    try:
        body = certify.certify(subject, model=_model(options["model"]))
        key = signature.own_key(Path(options["key"]) if options["key"] else artifacts.home() / "hal" / KEY)
    except (
        certify.NoSuchBackend,
        artifacts.ArtifactMissing,
        artifacts.ArtifactCorrupt,
        signature.SignatureWrong,
    ) as error:
        raise CommandError(str(error)) from None
    page = report_html.render(body)
    signed = signature.sign(body | {"html_sha256": hashlib.sha256(page.encode()).hexdigest()}, key)
    stem = Path(options["out"]) / f"device-report-{options['backend']}"
    artifacts.write_json(stem.with_suffix(".json"), signed)
    stem.with_suffix(".html").write_text(page, "utf-8")
    total = body["summary"]
    counts = ", ".join(f"{number} {status}" for status, number in total["operators"].items())
    out.write(f"{options['backend']}: {total['verdict']}; operators: {counts}")
    out.write(f"{stem.with_suffix('.json')} and .html, signed by {signed['signature']['fingerprint']}")


def _model(name: str) -> Path | None:
    if not name:
        return None
    folder = artifacts.find(name)
    return artifacts.file_of(folder, artifacts.verify(folder), "body")


def check(path: Path, options: dict[str, Any], out: Any) -> None:
    """Signature, signer, challenge, and that the HTML beside the report is the one that was signed."""
    try:
        signed = json.loads(path.read_text("utf-8"))
        signer = signature.verify(signed, options["trust"])
    except (OSError, ValueError) as error:
        raise CommandError(f"{path.name} is not to be trusted: {error}") from None
    body = signed["body"]
    if options["challenge"] and body.get("challenge") != options["challenge"]:
        raise CommandError(
            f"{path.name} answers the challenge {body.get('challenge')!r}, not {options['challenge']!r}."
        )
    page = path.with_suffix(".html")
    if page.exists() and hashlib.sha256(page.read_bytes()).hexdigest() != body.get("html_sha256"):
        raise CommandError(f"{page.name} is not the page that was signed with {path.name}.")
    out.write(
        f"{path.name} is whole: signed by {signer}, made {body['made']}, verdict {body['summary']['verdict']}"
    )
    if not options["trust"]:
        out.write(
            "Compare the fingerprint with the one the signer told you by another way, or pass it as --trust."
        )
