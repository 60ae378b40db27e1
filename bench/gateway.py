"""The gateway's own cost: CPU of the web process per request against the front reference, added latency against the bare
upstream, peers from their public packages where they are installed. Same upstream, interleaved rounds, loopback only; bounded in
requests and in time."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.common import FULL, Results, owed_rows, workplace
from bench.tools import gateway_load, peers
from bench.tools.gateway_stage import UVICORN, Target, cpu_ms, of_peer, percentile, settle, targets
from tests.conformance.clients import CLIENTS

__all__ = ["UVICORN", "main", "targets"]
ROUNDS = 7 if FULL else 3
REQUESTS = {1: 1_500 if FULL else 500, 16: 8_000 if FULL else 2_500, 64: 8_000 if FULL else 2_500}
STREAMS_C16 = 600 if FULL else 250
PEER_REQUESTS = 1_000 if FULL else 300
WARM_UP = 300
NAMES = ("bare", "reference", "gateway", "aiohttp", "guarded")
LEAST_RATIO = {"litellm": 35.0, "portkey": 2.5, "mlflow": 2.5}
COLLEAGUES = {
    "bench.tools.gateway_first": ("first_token_held_ms",),
    "bench.tools.gateway_money": ("budget_overspend_usd", "lost_settlements"),
    "bench.tools.gateway_soak": (
        "soak_rss_slope_mib_per_h",
        "soak_rss_slope_kib_per_1k",
        "soak_unexpected_answers",
    ),
    "bench.tools.gateway_conformance": tuple(f"conformance_passed_{client.name}" for client in CLIENTS),
}
Series = dict[str, list[float]]


def measure(found: dict[str, Target]) -> Series:
    """Series by name, one value a round; who goes first changes from round to round."""
    series: Series = defaultdict(list)
    for name in NAMES:
        found[name].run(16, WARM_UP)
        found[name].run(16, 32, "stream")
    for number in range(ROUNDS):
        turn = number % len(NAMES)
        beside = {n: cpu_ms(found[n].pid) for n in ("valkey", "consumer")}
        for name in NAMES[turn:] + NAMES[:turn]:
            _one_round(series, found[name])
        answered = 3 * sum(REQUESTS.values()) + 3 * STREAMS_C16  # by the three that use the store
        settle(found)
        for n, before in beside.items():
            series[f"{n}.cpu"].append((cpu_ms(found[n].pid) - before) / answered)
        print(f"  round {number + 1} of {ROUNDS}", flush=True)
    return series


def _one_round(series: Series, target: Target) -> None:
    for concurrency, requests in REQUESTS.items():
        given = target.run(concurrency, requests)
        where = f"{_key(target)}.c{concurrency}"
        series[f"{where}.cpu"].append(given.cpu_ms)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
            series[f"{where}.{name}"].append(percentile(given.latencies, share))
    streams = target.run(16, STREAMS_C16, "stream")
    series[f"{_key(target)}.stream"].append(streams.cpu_ms)
    alone = target.run(1, 60, "stream")
    series[f"{_key(target)}.first"].append(statistics.median(alone.firsts))


def _key(target: Target) -> str:
    return {
        "bare upstream": "bare", "front reference": "reference", "gateway with aiohttp": "aiohttp",
        "gateway with guard": "guarded",
    }.get(target.name, target.name)  # fmt: skip


def main() -> None:
    results = Results("gateway")
    with workplace("sy-bench-") as home, targets(home) as found:
        report(results, measure(found))
        gateway_load.rows(results, found)
        compare(results, found, home)
        gateway_load.memory(results, found["gateway"])
    others(results)
    results.write()


def others(results: Results) -> None:
    """Rows of held streams, money and conformance, each measured by its own tool."""
    for module, metrics in COLLEAGUES.items():
        owed_rows(results, module, metrics)


def compare(results: Results, found: dict[str, Target], home: Path) -> None:
    """Each installed peer in turns with the gateway: CPU of its processes ÷ CPU of ours, within each round."""
    where = peers.home()
    upstream = found["bare"].url.removesuffix("/chat/completions")
    for name, least in LEAST_RATIO.items():
        reason = peers.missing(where, name)
        with ExitStack() as stack:
            if not reason:
                try:
                    peer = stack.enter_context(peers.start(where, name, upstream, home))
                    plain, streams, how = _beside(of_peer(peer), found["gateway"]), [], peer.how
                    streams = [p / g for p, g in _streams(of_peer(peer), found["gateway"])]
                except (OSError, RuntimeError) as error:
                    reason = f"{type(error).__name__}: {error}"[:200]
            if reason:
                results.not_run(f"{name}_ratio", "x", reason)
                continue
        version = peers.version(where, name)
        ratios = [p / g for p, g in plain]
        said = f"CPU of {name} {version} ({how}) ÷ CPU of the gateway, all on, {PEER_REQUESTS} requests at 16 concurrent"
        results.add(f"{name}_ratio", ratios, "x", said, at_least=least)
        results.add(f"{name}_cpu_ms_c16", [p for p, _ in plain], "ms", said.split(" ÷ ")[0], control=True)
        results.add(f"{name}_stream_ratio", streams, "x", "the same for streams of 50 chunks", control=True)


def _beside(peer: Target, own: Target) -> list[tuple[float, float]]:
    peer.run(8, 60)
    pairs = []
    for _ in range(ROUNDS):
        theirs = peer.run(16, PEER_REQUESTS).cpu_ms
        pairs.append((theirs, own.run(16, REQUESTS[16]).cpu_ms))
    return pairs


def _streams(peer: Target, own: Target) -> list[tuple[float, float]]:
    return [
        (peer.run(16, 48, "stream").cpu_ms, own.run(16, STREAMS_C16, "stream").cpu_ms) for _ in range(ROUNDS)
    ]


def report(results: Results, series: Series) -> None:
    def less(name: str, base: str = "bare") -> list[float]:
        return [a - b for a, b in zip(series[f"gateway.{name}"], series[f"{base}.{name}"], strict=True)]

    def over(name: str, of: str = "gateway", base: str = "reference") -> list[float]:
        return [a / b for a, b in zip(series[f"{of}.{name}"], series[f"{base}.{name}"], strict=True)]

    size = f"1 kB chat request, {REQUESTS[16]} requests a round at 16 concurrent, user+system time of the web process"
    budget = "four budgets, limits, twenty rules, inspection, event; guard off"
    results.add(
        "cpu_ms_per_request_c16",
        series["gateway.c16.cpu"],
        "ms",
        f"{size}; {budget}; lean client",
        at_most=0.25,
    )
    results.add(
        "cpu_ms_per_request_c16_aiohttp",
        series["aiohttp.c16.cpu"],
        "ms",
        f"{size}; {budget}; aiohttp",
        at_most=0.35,
    )
    results.add(
        "front_reference_ms_c16", series["reference.c16.cpu"], "ms", f"{size}; bench/front_reference.py"
    )
    within = "÷ front reference, within each round"
    results.add(
        "ratio_c16", over("c16.cpu"), "x", f"CPU of the gateway with the lean client {within}", at_most=1.3
    )
    results.add(
        "ratio_c16_aiohttp", over("c16.cpu", "aiohttp"), "x", f"the same with aiohttp {within}", at_most=1.8
    )
    results.add("ratio_c1", over("c1.cpu"), "x", f"the same at 1 concurrent {within}")
    results.add("ratio_c64", over("c64.cpu"), "x", f"the same at 64 concurrent {within}")
    _latencies(results, series, less)
    guard = [a - b for a, b in zip(series["guarded.c16.cpu"], series["gateway.c16.cpu"], strict=True)]
    results.add(
        "guard_ms",
        guard,
        "ms",
        "CPU that the classifying guard adds to a request, within each round",
        at_most=0.2,
    )
    results.add(
        "guarded_cpu_ms_per_request_c16",
        series["guarded.c16.cpu"],
        "ms",
        f"{size}; the same with the risk guard",
    )
    results.add("stream_50_chunks_cpu_ms_c16", series["gateway.stream"], "ms",
                f"{STREAMS_C16} streams a round at 16 concurrent; guard off")  # fmt: skip
    results.add("stream_ratio_c16", over("stream"), "x", f"CPU of such a stream {within}", at_most=1.5)
    _first_tokens(results, series, less)
    results.add("valkey_cpu_ms_per_request", series["valkey.cpu"], "ms", "the store's own process, all requests of a round",
                at_most=0.1)  # fmt: skip
    results.add(
        "consumer_cpu_ms_per_request",
        series["consumer.cpu"],
        "ms",
        "the ledger process, until it has read the round's",
    )
    results.add(
        "upstream_cpu_ms_c16", series["bare.c16.cpu"], "ms", "the bare upstream's own process", control=True
    )
    results.add(
        "reference_stream_cpu_ms_c16",
        series["reference.stream"],
        "ms",
        "the front reference's streams",
        control=True,
    )


def _latencies(results: Results, series: Series, less: object) -> None:
    assert callable(less)
    shared = "caller, upstream and web share the cores"
    for concurrency in REQUESTS:
        for name, word in (("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile")):
            most = 10 if (concurrency, name) == (16, "p99") else None
            results.add(f"added_{name}_ms_c{concurrency}", less(f"c{concurrency}.{name}"), "ms",
                        f"{word} at {concurrency} concurrent less the bare upstream's; {shared}", at_most=most)  # fmt: skip
    for where, name in (("c1", "p50"), ("c16", "p99")):
        added: Sequence[float] = [
            a - b for a, b in zip(series[f"reference.{where}.{name}"], series[f"bare.{where}.{name}"], strict=True)
        ]  # fmt: skip
        results.add(
            f"reference_added_{name}_ms_{where}",
            added,
            "ms",
            "the front reference, measured likewise",
            control=True,
        )


def _first_tokens(results: Results, series: Series, less: object) -> None:
    assert callable(less)
    results.add("first_token_added_ms_c1", less("first"), "ms",
                "median time to a stream's first byte at 1 concurrent less the bare upstream's", at_most=2)  # fmt: skip
    observed = [a - b for a, b in zip(series["guarded.first"], series["bare.first"], strict=True)]
    results.add(
        "first_token_added_ms_observed", observed, "ms", "the same where the guard observes", at_most=2
    )


if __name__ == "__main__":
    main()
