"""The engine as plainly as it can be said: every rule and every invariant evaluated whole, nothing kept. For comparison."""

import zlib

from routing.contracts import CandidateView, Decision, PlannedHop, RuleTrace
from routing.policy.candidates import broken_invariant, can_do
from routing.policy.rules import Route

MIN_ROWS, TRACED = 30, 32
_LAST = 2**63


def shown(source):
    """A condition in a trace: 240 characters, the last of a longer one says that it is cut."""
    return source if len(source) <= 240 else source[:239] + "…"


class Reference:
    """One request at a time."""

    def __init__(self, policies, facts, candidates, *, lob, worst_case, sticky, scores):
        self.policies, self.facts, self.lob, self.sticky = policies, facts, lob, sticky
        self.worst_case, self.scores = worst_case, scores or {}
        self.by_name = {c.name: c for c in candidates}
        self.task, self.workload = facts.values["workload"]["task"], facts.values["workload"]["name"]
        self.notes, self.errors, self.shut = {}, {}, ""

    def decide(self):
        own = self.policies.lobs[self.lob].pick(self.sticky) if self.lob in self.policies.lobs else None
        base = self.policies.organisation.pick(self.sticky) if self.policies.organisation else None
        documents = [d for d in (own, base) if d is not None]
        self.route, self.rule, trace = self.match(documents)
        if self.route is None:
            self.route = (base.default if base else None) or Route("deny")
            trace.append(RuleTrace("default", True, "no rule matched"))
        hops = self.hops()
        facts = self.facts
        sensitivity = facts.values["data"].get("sensitivity", "restricted")  # unknown: nobody keeps it
        keeps = sensitivity != "restricted" and not broken_invariant(
            self.policies.invariants, facts, None, "cache"
        ) if self.route.cache and hops else False  # fmt: skip
        return Decision(
            hops=hops, shadows=tuple(s for s in self.route.shadow if hops and not self.reasons(s, "shadow")),
            trace=tuple(trace), candidates=self.views(hops), rule=self.rule,
            policy_version="+".join(d.label for d in reversed(documents)) or "none",
            policy_hash="+".join(d.hash[:12] for d in reversed(documents)), refusal="" if hops else self.refusal(),
            max_cost_nusd=self.route.max_cost_nusd, guards=self.route.guards, mask=self.route.mask,
            cache=self.route.cache if keeps else None,
        )  # fmt: skip

    def match(self, documents):
        whole = []
        for document in documents:
            lines, failures, found = [], [], None
            for rule in document.rules:
                try:
                    matched = bool(rule.matches(self.facts.values))
                except Exception as error:
                    self.errors[rule.name] = self.errors.get(rule.name, 0) + 1
                    if rule.tests_class and not self.shut:
                        self.shut = (
                            f"residency: rule {rule.name!r} tests what the data is and could not be evaluated"
                        )
                    line = RuleTrace(rule.name, False, f"skipped: {type(error).__name__} in its condition")
                    failures.append((len(lines), line))
                    lines.append(line)
                    continue
                if matched:
                    found = rule
                    break
                lines.append(RuleTrace(rule.name, False, shown(rule.source)))
            start = max(0, len(lines) - TRACED)
            if start:
                whole.append(RuleTrace(f"({start} earlier rules)", False, "none of them matched"))
                whole += [line for place, line in failures if place < start][:TRACED]
            whole += lines[start:]
            if found is not None:
                whole.append(RuleTrace(found.name, True, shown(found.source)))
                return found.route, found.name, whole
        return None, "default", whole

    def reasons(self, name, hop):
        target = self.by_name.get(name)
        if target is None:
            return ("unknown or disabled deployment",)
        reasons = []
        if target.lobs and self.lob not in target.lobs:
            reasons.append("not for this line of business")
        if not can_do(target, self.task):
            reasons.append(f"does not do {self.task}")
        if not target.billable:
            reasons.append("no price" if target.side == "external" else "no node, so no cost")
        masked = self.route.mask and target.side == "external"
        broken = broken_invariant(self.policies.invariants, self.facts, target, hop, masked=masked)
        if not broken and self.shut and target.side == "external":
            broken = self.shut
        return (*reasons, f"invariant: {broken}") if broken else tuple(reasons)

    def quality(self, name):
        if self.route.learned and name in self.scores:
            return self.scores[name], MIN_ROWS
        return self.by_name[name].quality.get(self.workload, (0.0, 0))

    def rests(self, name):
        target = self.by_name.get(name)
        share = target.resting.get(self.workload) if target is not None else None
        if share is None or zlib.crc32(f"resting:{name}:{self.sticky}".encode()) % 100 < share:
            return False
        self.notes.setdefault(name, "accuracy objective: it burns the workload's error budget")
        return True

    def hops(self):
        route, wish = self.route, self.facts.values["request"]["wish"]
        order, fallback = self.order(), list(route.fallback)
        if wish and wish in order and route.kind != "cascade":
            order = [wish, *(n for n in order if n != wish)]
        if route.kind != "cascade" and (tired := [n for n in (*order, *fallback) if self.rests(n)]):
            order = [n for n in (*order, *fallback) if n not in tired]
            fallback = list(dict.fromkeys(tired))
        planned = []
        for name in order:
            hop = "fallback" if planned else "first"
            if not self.reasons(name, hop):
                planned.append((name, hop))
        own = len(planned)
        taken = {n for n, _ in planned}
        planned += [(n, "fallback") for n in fallback if n not in taken and not self.reasons(n, "fallback")]
        return tuple(
            PlannedHop(
                name, hop, self.worst_case.get(name, 0), route.until_confidence if i < own - 1 else None,
                route.mask and self.by_name[name].side == "external",
            )
            for i, (name, hop) in enumerate(planned)
        )  # fmt: skip

    def order(self):
        route = self.route
        if route.kind == "choose":
            return self.chosen()
        if route.kind != "split":
            return list(route.targets)
        sticky = self.sticky
        if route.sticky != "caller":
            group, _, field = route.sticky.partition(".")
            sticky = f"{route.sticky}:{self.facts.values[group][field]}"
        point = zlib.crc32(b"split" + sticky.encode()) / 2**32 * sum(w for _, w in route.weights)
        drawn, reached = route.weights[-1][0], 0.0
        for name, weight in route.weights:
            reached += weight
            if point < reached:
                drawn = name
                break
        return [drawn, *(n for n, _ in route.weights if n != drawn)]

    def chosen(self):
        route = self.route
        names = [n for n in route.targets if not self.reasons(n, "first")]
        if route.quality_floor is not None:
            floor = route.quality_floor
            if not route.floor_is_absolute:
                known = [self.quality(n) for n in self.by_name]
                floor *= max((q for q, rows in known if rows >= MIN_ROWS), default=0.0)
            for name in names:
                accuracy, rows = self.quality(name)
                if rows < MIN_ROWS:
                    self.notes[name] = f"quality floor: {rows} evaluated rows, {MIN_ROWS} needed"
                elif accuracy < floor:
                    self.notes[name] = f"quality floor: {accuracy:.3f} is under {floor:.3f}"
            names = [n for n in names if n not in self.notes]
        if route.choose == "best":
            return sorted(names, key=lambda n: -self.quality(n)[0])
        if route.choose == "fastest":
            return sorted(names, key=lambda n: self.by_name[n].usual_accelerator_ns.get(self.workload, _LAST))
        return sorted(names, key=lambda n: self.worst_case.get(n, _LAST))

    def views(self, hops):
        planned = {h.deployment for h in hops}
        named = {*self.route.targets, *self.route.fallback}
        rows = []
        for name, target in self.by_name.items():
            if not can_do(target, self.task):
                continue
            reasons = list(self.reasons(name, "first"))
            if name in self.notes:
                reasons.append(self.notes[name] + ("; allowed as fallback" if name in planned else ""))
            if name not in named:
                reasons.append(f"not named by rule {self.rule!r}")
            elif name not in planned and not reasons:
                reasons.extend(self.reasons(name, "fallback"))
            chance = self.scores.get(name) if self.route.learned else None
            cost = self.worst_case.get(name)
            rows.append(CandidateView(name, target.side, name in planned, tuple(reasons), cost, chance))
        return tuple(rows)

    def refusal(self):
        if self.route.kind == "deny":
            return "denied"
        for name, hop in [(n, "first") for n in self.route.targets] + [
            (n, "fallback") for n in self.route.fallback
        ]:
            reasons = self.reasons(name, hop)
            if reasons and name not in self.notes and all(r.startswith("invariant") for r in reasons):
                return "residency"
        return "no_deployment"
