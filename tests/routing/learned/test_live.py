"""Chances as the pipeline asks for them: who pays, what speaks first, what happens when it breaks."""

from dataclasses import replace

import numpy as np
import pytest

from routing.contracts import DeploymentInfo, Facts, GatewayRequest, KeyInfo, WorkloadInfo
from routing.learned import feedback
from routing.learned.embedding import OtherEdge
from routing.learned.feedback import Judged, WorkloadScorer
from routing.learned.live import CLOCK, Learned, from_sketch, prompts_of, sketch
from routing.policy.facts import empty_facts

KEY = KeyInfo("k", "", "acme", 1, "legal", "app", 0)
WORKLOAD = WorkloadInfo("chatter", 1, "legal", "chat", "edge", "internal", "", {})


def asked(text="Is this fair?", **changes):
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": text}]}
    plain = GatewayRequest("r", "d", KEY, "chat/completions", "chat", body, b"{}", 0, workload=WORKLOAD)
    return replace(plain, **changes)


def target(name, model="m"):
    return DeploymentInfo(
        name, 1, "external", "http://x", "", model, frozenset({"chat"}), frozenset(), "", 10, 1, False
    )


def facts(sensitivity="internal", tokens=10):
    values = empty_facts()
    values["data"]["sensitivity"] = sensitivity
    values["request"]["tokens_in"] = tokens
    return Facts(values)


def scorer(sketched=False, **weights):
    width = len(feedback.FACTS) + (96 if sketched else 0)
    rows = {name: (bias, slope, *[0.0] * (width - 1)) for name, (bias, slope) in weights.items()}
    return WorkloadScorer((0.0,) * width, (1.0,) * width, rows, Edge.body[:8] if sketched else "")


class Edge:
    """Reads nothing, gives the same 96 numbers."""

    body = "ab" * 32

    def ids(self, texts, most_characters):
        return [np.array([101, 102]) for _ in texts]

    def embed(self, rows):
        return np.tile(np.linspace(-1, 1, 96, dtype=np.float32), (len(rows), 1))


def test_a_line_of_business_whose_policy_does_not_ask_pays_nothing():
    before = CLOCK.asked
    learned = Learned(frozenset({"sales"}), workloads={"chatter": scorer(a=(0.0, 0.0))})
    assert learned.ask(asked(), facts(), [target("a")], keeps_text=False) is None
    assert CLOCK.asked == before


def test_a_workloads_own_scorer_speaks_of_the_candidates_at_hand_only():
    learned = Learned(frozenset({"legal"}), workloads={"chatter": scorer(a=(0.0, 0.0), gone=(9.0, 0.0))})
    told = learned.ask(asked(), facts(), [target("a"), target("b")], keeps_text=False)
    assert told.chances == {"a": 0.5} and told.sketch == b""


def test_longer_prompts_move_the_chance_as_they_were_taught():
    learned = Learned(frozenset({"legal"}), workloads={"chatter": scorer(a=(2.0, -0.5))})
    short, long = (learned.ask(asked(), facts(tokens=t), [target("a")], keeps_text=False) for t in (1, 5_000))
    assert short.chances["a"] > 0.8 > 0.6 > long.chances["a"]


def test_what_breaks_gives_no_chances_and_is_counted():
    class Broken:
        def get(self, name):
            raise RuntimeError("broken")

    before = CLOCK.failed
    learned = Learned(frozenset({"legal"}), workloads=Broken())
    assert learned.ask(asked(), facts(), [target("a")], keeps_text=False) is None
    assert CLOCK.failed == before + 1


def test_a_sketch_is_kept_only_where_texts_are_and_never_of_restricted_data():
    learned = Learned(frozenset({"legal"}), reader=Edge())
    asks = [(True, "internal", 100), (False, "internal", 0), (True, "restricted", 0)]
    for keeps, sensitivity, size in asks:
        told = learned.ask(asked(), facts(sensitivity), [target("a")], keeps_text=keeps)
        assert len(told.sketch) == size
    assert np.allclose(from_sketch(sketch(["x"], Edge())), np.linspace(-1, 1, 96), atol=0.02)
    with pytest.raises(ValueError, match="100 bytes"):
        from_sketch(b"123")


def test_a_scorer_that_reads_sketches_is_silent_without_one():
    learned = Learned(frozenset({"legal"}), reader=Edge(), workloads={"chatter": scorer(True, a=(0.0, 0.0))})
    assert learned.ask(asked(), facts(), [target("a")], keeps_text=False).chances == {}
    assert learned.ask(asked(), facts(), [target("a")], keeps_text=True).chances == {"a": 0.5}


def test_a_student_that_cannot_be_sketched_with_leaves_other_chances_as_they_are():
    class Wider(Edge):
        def embed(self, rows):
            raise OtherEdge("128 numbers a text")

    own = {"chatter": scorer(a=(0.0, 0.0))}
    told = Learned(frozenset({"legal"}), reader=Wider(), workloads=own).ask(
        asked(), facts(), [target("a")], keeps_text=True
    )
    assert (told.chances, told.sketch) == ({"a": 0.5}, b"")
    sketched = {"chatter": scorer(True, a=(0.0, 0.0))}
    told = Learned(frozenset({"legal"}), reader=Wider(), workloads=sketched).ask(
        asked(), facts(), [target("a")], keeps_text=True
    )
    assert told.chances == {}


def test_the_router_scores_deployments_by_the_model_they_serve():
    from routing.selectors.learned import shipped

    router, reader = shipped()
    learned = Learned(frozenset({"legal"}), router, reader)
    question = (
        "Find the degree for the given field extension Q(sqrt(2), sqrt(3)) over Q.\nA. 0\nB. 4\nC. 2\nD. 6"
    )
    targets = [
        target("strong", "openai/gpt-4-1106-preview"),
        target("cheap", "mixtral-8x7b-instruct"),
        target("own", "x"),
    ]
    told = learned.ask(asked(question), facts(), targets, keeps_text=False)
    assert set(told.chances) == {"strong", "cheap"}
    assert 0.2 < told.chances["cheap"] < told.chances["strong"] < 0.99


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"input": ["a", "b", "c", "d", "e"]}, ["a", "b", "c", "d"]),
        ({"prompt": "p" * 9_000}, ["p" * 1_500]),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url"}]}
                ]
            },
            ["t"],
        ),
        ({"messages": "odd"}, []),
        ({}, []),
    ],
)
def test_what_is_asked_is_found_in_every_shape_of_body(body, found):
    assert prompts_of(asked(body=body)) == found


# --- fitted from judged answers -----------------------------------------------------------------------------------------


def judged(n=1_500, slope=-1.2, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(feedback.FACTS)))
    chance = 1 / (1 + np.exp(-(1.0 + slope * features[:, 1])))
    return Judged(features, rng.choice(["a", "b"], n), (rng.random(n) < chance).astype(float))


def test_difficulty_that_matters_is_learned_and_beats_the_plain_rate():
    found = feedback.fit(judged())
    assert found.better and found.low > 0.02
    easy, hard = np.zeros(8), np.zeros(8)
    easy[1], hard[1] = -2, 2
    assert found.scorer.chances(easy)["a"] > 0.9 > 0.4 > found.scorer.chances(hard)["a"]
    again = WorkloadScorer.from_json(found.scorer.as_json())
    assert again.chances(hard)["b"] == pytest.approx(found.scorer.chances(hard)["b"], abs=1e-4)


def test_noise_is_not_better_than_the_plain_rate():
    assert not feedback.fit(judged(slope=0.0)).better


def test_a_second_fit_on_the_same_rows_is_not_better_than_the_first():
    first = feedback.fit(judged())
    assert not feedback.fit(judged(), present=first.scorer).better


def test_too_few_judged_answers_are_named_with_what_is_missing():
    with pytest.raises(ValueError, match="of 200 judged answers"):
        feedback.fit(judged(n=120))
    assert set(feedback.enough(judged(n=120))) == {"a", "b"}
