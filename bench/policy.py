"""How long a decision and a proof take, beside evaluating one rule after the other and beside policies that break.

`python -m bench policy`, or `python -m bench.policy` alone. Replays and inspection come from bench.tools.policy_whatif and
bench.tools.policy_inspection.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

from bench.common import Results, owed_rows
from costs.contracts import NodeRate, PriceSheet
from routing.contracts import DeploymentInfo, Facts, Trial
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import CLASS_NAMES, empty_facts
from routing.policy.matching import match, matcher_of
from routing.policy.rules import Document
from routing.policy.verify import TargetFact, WorkloadFact, prove
from routing.policy.views import decision_as_json
from routing.rollout.beside import SAMPLE_EVERY, asked_beside

REPEATS, REQUESTS = 7, 2_000
WORKLOADS = 200
TIERS = ("core", "edge", "experiment")
NAMED = ("private-sparse", "private-small", "ext-mini", "ext-large", "candidate")
INVARIANTS = """
invariants:
  - name: restricted data stays home
    never: data.sensitivity >= confidential && target.side == "external"
  - name: nothing confidential is kept
    never: data.sensitivity >= confidential && hop in ["cache", "training"]
"""
# The policy that the design page shows, as written there.
EXAMPLE = (
    INVARIANTS
    + """
rules:
  - name: ask small first
    when: workload.name == "support-intent"
    route: {cascade: [ext-mini, private-sparse], until: "confidence >= 0.90"}
  - name: core business
    when: workload.tier == "core"
    route: {prefer: [private-sparse], fallback: []}
  - name: edge at the lowest cost that is good enough
    when: workload.tier == "edge"
    route: {choose: cheapest, among: [ext-mini, private-sparse], quality_floor: 0.96, fallback: [private-sparse]}
  - name: experiment
    when: workload.tier == "experiment"
    route: {split: {private-sparse: 0.9, candidate: 0.1}, shadow: [ext-mini]}
default: deny
"""
)
# An LOB's that keeps what its inspection finds at home, and masks what may leave masked.
CAREFUL = """
invariants:
  - name: home unless masked
    never: data.sensitivity >= confidential && target.side == "external" && !data.masked
  - name: credentials never leave
    never: target.side == "external" && ("api_key" in data.entities || "private_key" in data.entities)
rules:
  - name: credentials
    when: '"api_key" in data.entities || "private_key" in data.entities'
    route: {prefer: [private-sparse]}
  - name: long questions masked
    when: workload.tier == "edge" && request.tokens_in > 2000
    route: {prefer: [ext-large], fallback: [private-sparse], mask: true}
  - name: the rest
    when: workload.tier in ["edge", "experiment"]
    route: {prefer: [private-sparse], fallback: [ext-mini], mask: true}
  - name: core
    when: workload.tier == "core"
    route: {prefer: [private-sparse]}
default: deny
"""


def deployment(name: str) -> DeploymentInfo:
    side = "external" if name.startswith("ext") else "private"
    return DeploymentInfo(
        name=name, organisation_id=1, side=side, base_url="http://127.0.0.1/v1", api_key="", model=name,
        tasks=frozenset(["classification", "chat"]), lobs=frozenset(), region="", max_output_tokens=100, max_concurrency=1,
        heads=True, prices=PriceSheet("p") if side == "external" else None,
        rate=NodeRate("n", "node", 1) if side == "private" else None,
        quality={f"w{i}": (0.9, 500) for i in range(WORKLOADS)},
    )  # type: ignore[arg-type]  # fmt: skip


CANDIDATES = [deployment(name) for name in NAMED]
COSTS = {name: 100 * (i + 1) for i, name in enumerate(NAMED)}


def rules(count: int, seed: int = 11) -> str:
    """A document as a large company's: by workload, tier, class, size, and what was found; every route's kind."""
    draw = random.Random(seed)
    lines = ["rules:"]
    for i in range(count):
        workload = f'workload.name == "w{draw.randrange(WORKLOADS)}"'
        more = draw.choice([
            f"data.sensitivity <= {draw.choice(CLASS_NAMES[1:])}", f"request.tokens_in > {draw.randrange(50, 4000)}",
            f"time.hour >= {draw.randrange(6, 20)}", '"email" in data.entities', "!request.stream",
            f"request.difficulty < 0.{draw.randrange(1, 9)}",
        ])  # fmt: skip
        route = draw.choice([
            "{prefer: [private-sparse], fallback: [private-small]}",
            "{choose: cheapest, among: [private-small, private-sparse, ext-mini], quality_floor: 0.9}",
            "{split: {private-sparse: 0.9, candidate: 0.1}, shadow: [private-small]}",
            '{cascade: [private-small, private-sparse], until: "confidence >= 0.9"}',
        ])  # fmt: skip
        lines.append(f"  - name: rule {i}\n    when: '{workload} && {more}'\n    route: {route}")
    return "\n".join(lines)


def policies(count: int) -> CompiledPolicies:
    own = parse_document(rules(count - 4), organisation=False, label="lob@1", strict=False)
    base = parse_document(EXAMPLE, organisation=True, label="org@1")
    return CompiledPolicies(Rollout(base), {"sales": Rollout(own)})


def requests(count: int, seed: int = 5) -> list[Facts]:
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        values = empty_facts()
        workload = draw.randrange(WORKLOADS)
        values["workload"].update(name=f"w{workload}", task="classification", tier=TIERS[workload % 3])
        values["request"].update(
            tokens_in=draw.randrange(5000), stream=draw.random() < 0.5, difficulty=draw.random()
        )
        values["data"].update(
            sensitivity=draw.choice(CLASS_NAMES), entities=("email",) if draw.random() < 0.2 else ()
        )
        values["lob"]["slug"] = "sales"
        values["time"]["hour"] = draw.randrange(24)
        found.append(Facts(values))
    return found


def timed(work: Callable[[Facts], object], asked: Sequence[Facts], repeats: int = REPEATS) -> list[float]:
    """Microseconds of this process's processor for each request, one figure a repeat; the first round isn't counted."""
    for facts in asked:
        work(facts)
    values = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            started = time.process_time()
            for facts in asked:
                work(facts)
            values.append((time.process_time() - started) / len(asked) * 1e6)
    finally:
        gc.enable()
    return values


def decide_with(compiled: CompiledPolicies) -> Callable[[Facts], object]:
    return lambda facts: compiled.decide(facts, CANDIDATES, lob="sales", worst_case=COSTS, sticky="caller")


def _decisions(results: Results) -> None:
    asked = requests(REQUESTS)
    for count, most in ((20, 50), (1_000, 50)):
        compiled = policies(count)
        spent = timed(decide_with(compiled), asked)
        results.add(
            f"decision_us_{count}_rules", spent, "µs", at_most=most,
            how=f"{count} rules over {WORKLOADS} workloads, {len(NAMED)} deployments, {REQUESTS} requests of all classes; CPU",
        )  # fmt: skip
    _growth(results, asked)


def _growth(results: Results, asked: Sequence[Facts]) -> None:
    for count in (100, 500):
        results.add(
            f"decision_us_{count}_rules", timed(decide_with(policies(count)), asked, 3), "µs",
            how="the same with another number of rules",
        )  # fmt: skip
    compiled = policies(1_000)
    documents = (compiled.lobs["sales"].document, compiled.organisation.document)  # type: ignore[union-attr]
    matchers = [matcher_of(document) for document in documents]
    few = asked[:200]
    results.add(
        "decision_us_1000_rules_sequential",
        timed(lambda f: match(matchers, f.values, {}, indexed=False), few, 3), "µs", control=True,
        how="finding the rule alone, by evaluating one after the other",
    )  # fmt: skip
    results.add(
        "decision_us_1000_rules_unindexable", timed(decide_with(_unindexable(1_000)), few, 3), "µs", control=True,
        how="every rule asks for part of a word, which no index finds: the worst a document can do",
    )  # fmt: skip
    told = [compiled.decide(f, CANDIDATES, lob="sales", worst_case=COSTS) for f in few]
    places = {id(f): d for f, d in zip(few, told, strict=True)}
    results.add(
        "decision_as_json_us", timed(lambda f: decision_as_json(places[id(f)]), few, 3), "µs",
        how="telling a decision of 1,000 rules for its event: trace of at most 32 rules a document, candidates",
    )  # fmt: skip
    decisions = 1e6 / min(timed(decide_with(compiled), asked, 3))
    results.add("decisions_per_s", [decisions], "1/s", how="one process, for replays")


def _shadows(results: Results) -> None:
    """What a shadow version adds to a request: asked of one in SAMPLE_EVERY, at the end, for its event."""
    live, trial = policies(20), policies(20)
    world = SimpleNamespace(policies=live, trials=(Trial("pol_shadow", "sales", trial),))
    ended = {}
    asked = requests(REQUESTS)
    for i, facts in enumerate(asked):
        decision = live.decide(facts, CANDIDATES, lob="sales", worst_case=COSTS, sticky="caller")
        request = SimpleNamespace(request_id=f"req_{i}", sticky="caller", key=SimpleNamespace(lob="sales"))
        ended[id(facts)] = SimpleNamespace(
            world=world, facts=facts, decision=decision, candidates=CANDIDATES, request=request, shadow=None
        )
    beside: Callable[[Facts], object] = lambda facts: asked_beside(ended[id(facts)])  # noqa: E731
    looked = [facts for facts in asked if beside(facts)]
    results.add(
        "shadow_us", timed(beside, asked), "µs", at_most=20,
        how=f"mean of all requests while one version of 20 rules runs as a shadow; {len(looked)} of {len(asked)} are asked; CPU",
    )  # fmt: skip
    results.add(
        "shadow_us_asked", timed(beside, looked), "µs", control=True,
        how=f"of those that are asked, one in {SAMPLE_EVERY}: a decision more, and what it would have done",
    )  # fmt: skip


def _unindexable(count: int) -> CompiledPolicies:
    lines = [f"  - {{name: r{i}, when: 'request.model.contains(\"m{i}\")', route: {{prefer: [private-sparse]}}}}"
             for i in range(count)]  # fmt: skip
    text = "\n".join(["rules:", *lines])
    return CompiledPolicies(
        Rollout(parse_document(EXAMPLE, organisation=True)),
        {"sales": Rollout(parse_document(text, organisation=False, strict=False))},
    )


def company() -> tuple[list[WorkloadFact], dict[str, TargetFact], list[str]]:
    lobs = ["sales", "legal", "healthcare", "engineering"]
    classes = ("internal", "confidential", "restricted", "public")
    workloads = [
        WorkloadFact(f"{lob}-{tier}-{i}", lob, "classification", tier, classes[(n + i) % 4] if tier == "core" else "internal")
        for n, lob in enumerate(lobs) for tier in TIERS for i in range(4)
    ]  # fmt: skip
    workloads.append(WorkloadFact("support-intent", "sales", "classification", "edge", "internal"))
    targets = {d.name: TargetFact(d.name, d.side, d.model, d.region) for d in CANDIDATES}
    return workloads, targets, lobs


def _proofs(results: Results) -> None:
    workloads, targets, lobs = company()

    def proven(text: str) -> tuple[Document, float, int, int, str]:
        document = parse_document(text, organisation=True)
        started = time.process_time()
        proof = prove(document, document.invariants, workloads, targets, lobs=lobs)
        spent = time.process_time() - started
        shown = proof.examples[0].sentence() if proof.examples else ""
        return document, spent, proof.cases, len(proof.examples), shown

    for name, text in (("proof_seconds", EXAMPLE), ("proof_seconds_careful", CAREFUL)):
        runs = [proven(text) for _ in range(3)]
        if runs[0][3]:
            raise RuntimeError(f"{name}: the sound policy was refused: {runs[0][4]}")
        results.add(
            name, [r[1] for r in runs], "s", at_most=5 if name == "proof_seconds" else None,
            how=f"{len(runs[0][0].rules)} rules, {len(workloads)} workloads, {len(lobs)} lines of business, "
            f"{len(targets)} deployments: {runs[0][2]} cases, each invariant proven; CPU",
        )  # fmt: skip
    broken = CAREFUL.replace("fallback: [private-sparse], mask: true", "fallback: [private-sparse]")
    broken = broken.replace(
        'workload.tier == "edge" && request.tokens_in', 'workload.tier == "core" && request.tokens_in'
    )
    _document, spent, _cases, examples, shown = proven(broken)
    if not examples:
        raise RuntimeError("the broken policy was not refused")
    results.add(
        "proof_seconds_broken",
        [spent],
        "s",
        control=True,
        how=f"masking left out: {examples} counter-examples. {shown}",
    )
    big = INVARIANTS + rules(1_000) + "\ndefault: deny\n"
    _document, spent, cases, examples, _shown = proven_big(big, workloads, targets, lobs)
    results.add("proof_seconds_1000_rules", [spent], "s", how=f"{cases} cases, {examples} counter-examples")


def proven_big(
    text: str, workloads: list[WorkloadFact], targets: dict[str, TargetFact], lobs: list[str]
) -> tuple[Document, float, int, int, str]:
    """A thousand rules, on workloads that are there: the names are those of the company."""
    for i in range(WORKLOADS):
        text = text.replace(f'"w{i}"', f'"{workloads[i % len(workloads)].name}"')
    document = parse_document(text, organisation=True, strict=False)
    started = time.process_time()
    proof = prove(document, document.invariants, workloads, targets, lobs=lobs)
    return document, time.process_time() - started, proof.cases, len(proof.examples), ""


TOOLS = {
    "policy_whatif": (
        "whatif_cost_error_pct", "whatif_interval_coverage", "whatif_rows_per_s", "publish_to_all_s", "publish_errors",
    ),
    "policy_inspection": (
        "inspection_recall_id", "inspection_recall_email", "inspection_recall_credential", "inspection_recall_name",
        "inspection_recall_injection", "benign_raised_pct", "inspection_ms_2kb",
    ),
}  # fmt: skip


def main() -> None:
    results = Results("policy")
    _decisions(results)
    _shadows(results)
    _proofs(results)
    for name, metrics in TOOLS.items():
        owed_rows(results, f"bench.tools.{name}", metrics)
    results.write()


if __name__ == "__main__":
    main()
