"""A company for the gateway's benchmark: keys with guard off, observing, holding back, and a low limit; four budgets each,
twenty rules.

Prints {"plain": key, "guarded": key, "held": key, "flooding": key} as its last line. BENCH_UPSTREAM names the upstream.
"""

from __future__ import annotations

import json
import os

import django

RULES = 20
FLOOD_RPM = 1_200  # of the key that asks for many times as many


def policy() -> str:
    """Eighteen rules that don't match before the one that does, as in a company that has lived a while."""
    others = "".join(
        f'  - name: case {i}\n    when: workload.name == "nobody-{i}" && data.sensitivity <= internal\n'
        "    route: {prefer: [ext-llm]}\n"
        for i in range(RULES - 2)
    )
    return (
        "invariants:\n  - name: confidential data stays home\n"
        '    never: data.sensitivity >= confidential && target.side == "external"\n'
        f"rules:\n{others}"
        '  - name: edge may leave\n    when: workload.tier == "edge" && data.sensitivity <= internal\n'
        "    route: {prefer: [ext-llm], fallback: [private-llm]}\n"
        "  - name: what must stay\n    when: data.sensitivity >= confidential\n    route: {prefer: [private-llm]}\n"
        "default: deny\n"
    )


def make() -> dict[str, str]:
    from django.core.management import call_command

    from tests import factories

    call_command("migrate", verbosity=0)
    url = os.environ["BENCH_UPSTREAM"]
    organisation = factories.make_organisation(slug="bench")
    common = {"base_url": url, "tasks": ["chat"], "heads": False, "model": "m"}
    factories.make_deployment(organisation, "ext-llm", "external", **common)
    factories.make_deployment(organisation, "private-llm", "private", **common)
    keys = {}
    factories.make_budget(organisation, "organisation", usd="100000", period="month", action="stop")
    for name, mode, rpm in (
        ("plain", "off", 4_000_000),
        ("guarded", "observe", 4_000_000),
        ("held", "enforce", 4_000_000),
        ("flooding", "off", FLOOD_RPM),
    ):
        lob = factories.make_lob(organisation, name, guard_mode=mode, rpm=rpm)
        application = factories.make_application(lob)
        key, keys[name] = factories.make_key(application, tpm=2_000_000_000)
        workload = "chatter" if name == "plain" else f"chatter-{name}"
        factories.make_workload(lob, workload, task="chat", tier="edge")
        for scope in (f"lob:{name}", f"application:{application.slug}", f"key:{key.pk}"):
            factories.make_budget(organisation, scope, usd="100000", period="month", action="stop")
    factories.make_policy(organisation, policy())
    return keys


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    print(json.dumps(make()))
