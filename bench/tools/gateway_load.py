"""Under load: what one process gives at most, the tail at 70 % of it, and what a neighbour notices of a flood."""

from __future__ import annotations

from bench.common import FULL, Results
from bench.tools.company import FLOOD_RPM
from bench.tools.gateway_stage import Target, percentile, rss_kib, settle

REPEATS = 5 if FULL else 3
SATURATION_REQUESTS = 20_000 if FULL else 6_000
STEADY_S = 60.0 if FULL else 12.0
NEIGHBOUR_RPS, NEIGHBOUR_S = 50.0, 40.0 if FULL else 12.0
FLOOD_RPS = 500.0
SLOPE_REQUESTS = 100_000 if FULL else 12_000
SLOPE_STEPS = 10


def rows(results: Results, found: dict[str, Target]) -> None:
    goodput, tail, growth, absolute = [], [], [], []
    for _ in range(REPEATS):
        best = saturated(found["gateway"])
        goodput.append(best)
        settle(found)
        tail.append(tail_ms(found["gateway"], 0.7 * best, 0.999) - tail_ms(found["bare"], 0.7 * best, 0.999))
        settle(found)
        before, after, idle = neighbour_p99_ms(found)
        growth.append(100 * (after - before) / before)
        absolute.append((before, after, idle))
        settle(found)
    results.add("goodput_rps", goodput, "1/s",
                f"{SATURATION_REQUESTS} requests at 64 concurrent, all answered; caller, upstream, store and ledger share the "
                "machine's cores with the one web process")  # fmt: skip
    results.add("p999_added_ms_70pct", tail, "ms",
                f"{STEADY_S:g} s at 70 % of that, by the clock: a request counts from when it was due; less the bare upstream's "
                "at the same rate", at_most=25)  # fmt: skip
    results.add("neighbour_p99_growth_pct", growth, "%",
                f"99th percentile of {NEIGHBOUR_RPS:g} requests a second of one line of business, while another that may ask "
                f"{FLOOD_RPM} a minute asks {FLOOD_RPS:g} a second of the same process, against the same while that flood goes "
                "to the bare upstream: the generator takes its share of the cores either way; "
                f"{NEIGHBOUR_S:g} s each", at_most=10)  # fmt: skip
    for place, (name, when) in enumerate((
        ("neighbour_p99_ms_flood_elsewhere", "while the flood goes to the bare upstream"),
        ("neighbour_p99_ms_flood_here", "while the flood goes through the same process"),
        ("neighbour_p99_ms_alone", "without any flood"),
    )):  # fmt: skip
        results.add(
            name,
            [one[place] for one in absolute],
            "ms",
            f"the neighbour's 99th percentile {when}",
            control=True,
        )


def saturated(target: Target) -> float:
    """Answers a second at 64 concurrent."""
    given = target.run(64, SATURATION_REQUESTS)
    return len(given.latencies) / given.wall_s


def tail_ms(target: Target, rps: float, share: float) -> float:
    given = target.run(256, int(rps * STEADY_S), f"rate={rps:.1f}")
    return percentile(given.latencies, share)


def neighbour_p99_ms(found: dict[str, Target]) -> tuple[float, float, float]:
    """The neighbour's p99 with the flood at the bare upstream, with the flood beside it, and without a flood."""
    requests, flood = int(NEIGHBOUR_RPS * NEIGHBOUR_S), int(FLOOD_RPS * (NEIGHBOUR_S + 4))

    def asked() -> float:
        return percentile(found["gateway"].run(32, requests, f"rate={NEIGHBOUR_RPS}").latencies, 0.99)

    alone = asked()
    with found["bare"].running(64, flood, f"rate={FLOOD_RPS}"):
        before = asked()
    with found["flooding"].running(64, flood, f"rate={FLOOD_RPS}", may_fail=True) as flooded:
        after = asked()
    if not flooded[0].statuses.get("429"):
        raise RuntimeError(f"The flood was never refused: {flooded[0].statuses}.")
    return before, after, alone


def memory(results: Results, target: Target) -> None:
    """KiB a thousand requests, by least squares over so many steps after a warm-up."""
    target.run(16, SLOPE_REQUESTS // 4)
    step = SLOPE_REQUESTS // SLOPE_STEPS
    sizes = [rss_kib(target.pid)]
    for _ in range(SLOPE_STEPS):
        target.run(16, step)
        sizes.append(rss_kib(target.pid))
    places = range(len(sizes))
    middle, mean = sum(places) / len(sizes), sum(sizes) / len(sizes)
    slope = sum((i - middle) * (size - mean) for i, size in enumerate(sizes)) / sum(
        (i - middle) ** 2 for i in places
    )
    steps = [1000 * (after - before) / step for before, after in zip(sizes, sizes[1:], strict=False)]
    row = 1000 * slope / step
    results.add("rss_slope_kib_per_1k", [row], "KiB",
                f"resident size of the web process over {SLOPE_REQUESTS} requests after {SLOPE_REQUESTS // 4}, least squares; "
                f"single steps from {min(steps):.1f} to {max(steps):.1f}")  # fmt: skip
    results.add("rss_mib", [sizes[-1] / 1024], "MiB", "of the web process at the end", control=True)
