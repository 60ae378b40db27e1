"""Dense parts into experts: nothing is lost by dealing neurons out, and the router must earn what it keeps."""

import numpy as np
import pytest
import torch

from modelhub.ml.compress.reconstruct import reconstruct
from modelhub.ml.compress.recover import Separation, Yardstick, recover
from modelhub.ml.compress.separate import (
    DensePart,
    Scale,
    SeparatedPart,
    active_share,
    fit_router,
    group,
    separate,
)

D, H, T = 12, 32, 400


def clustered(seed=0, topics=4):
    """A part whose neurons belong to topics, and tokens that each have one: the case separation is for."""
    torch.manual_seed(seed)
    place = torch.eye(D)[:topics] * 4
    w1 = torch.cat([torch.randn(H // topics, D) * 0.2 + direction for direction in place])
    part = DensePart(w1, torch.full((H,), -8.0), torch.randn(D, H) * 0.5, torch.randn(D))
    x = place[torch.randint(topics, (T,))] + 0.3 * torch.randn(T, D)
    return part, x


def test_all_experts_together_are_the_dense_part():
    part, x = clustered()
    for by in ("weights", "coactivation", "random"):
        groups = group(part, x, 4, by, np.random.default_rng(0))
        assert sorted(groups.flatten().tolist()) == list(range(H))
        whole = SeparatedPart(part, groups, 4).eval()
        torch.testing.assert_close(whole(x), part(x), rtol=1e-4, atol=1e-4)


def test_what_a_server_computes_is_what_masking_would():
    part, x = clustered()
    made, _ = separate(part, x, experts=8, k=3, by="weights", rng=np.random.default_rng(1))
    made.eval()
    chosen, _ = made.choose(x)
    wanted = (made.said(x) * chosen[..., None]).sum(dim=1) + made.bias
    torch.testing.assert_close(made(x), wanted, rtol=1e-4, atol=1e-4)
    made.train()
    torch.testing.assert_close(
        made(x), wanted, rtol=1e-4, atol=1e-4
    )  # the factor is one, it only carries gradients


def test_the_router_learns_from_its_choices():
    part, x = clustered()
    made, _ = separate(part, x, experts=4, k=1, by="weights", rng=np.random.default_rng(0))
    made.train()(x).square().mean().backward()
    assert made.router.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("by", ["weights", "coactivation"])
def test_a_fitted_router_keeps_far_more_than_chance_where_there_is_structure(by):
    part, x = clustered()
    made, kept = separate(part, x, experts=4, k=1, by=by, rng=np.random.default_rng(0))
    made.eval()
    wanted = part(x)
    error = (made(x) - wanted).square().mean() / wanted.var()
    made.random_router = True
    torch.manual_seed(0)
    by_chance = (made(x) - wanted).square().mean() / wanted.var()
    assert kept > 0.9 and error < 0.05 and by_chance > 5 * error
    made.random_router, made.silent = False, True
    assert torch.equal(made(x), made.bias.expand(T, -1))


def test_groups_of_neurons_that_fire_together_are_found_where_weights_hide_them():
    part, x = clustered()
    signs = torch.where(torch.arange(H) % 2 == 0, 1.0, 1.5)[:, None]
    scaled = DensePart(part.w1 * signs, part.b1 * signs[:, 0], part.w2, part.b2)
    groups = group(scaled, x, 4, "coactivation", np.random.default_rng(0))
    topic_of = torch.arange(H) // (H // 4)
    assert all(len(set(topic_of[own].tolist())) == 1 for own in groups)


def test_wrong_shapes_are_refused_with_what_was_expected():
    part, x = clustered()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="32 neurons don't divide evenly into 5"):
        group(part, x, 5, "weights", rng)
    with pytest.raises(ValueError, match="'weights', 'coactivation' or 'random'"):
        group(part, x, 4, "magic", rng)
    with pytest.raises(ValueError, match=r"k=9 must lie in 1..4"):
        SeparatedPart(part, group(part, x, 4, "weights", rng), 9)
    with pytest.raises(ValueError, match="at most 200"):
        recover(None, None, None, Separation(steps=201))


def test_the_active_share_counts_router_and_bias():
    part, x = clustered()
    made = SeparatedPart(part, group(part, x, 4, "weights", np.random.default_rng(0)), 1)
    fit_router(made, x)
    neurons, always = 8 * (2 * D + 1), 4 * (D + 1) + D
    assert active_share(made) == pytest.approx((neurons + D + always) / (4 * neurons + D))


def error_of(made, x, wanted):
    return float((made.eval()(x).detach() - wanted).square().mean() / wanted.var())


def test_reconstruction_halves_the_error_on_tokens_it_never_saw():
    part, x = clustered(topics=2)
    seen, unseen = x[:300], x[300:]
    made, _ = separate(part, seen, experts=8, k=2, by="coactivation", rng=np.random.default_rng(0))
    before = error_of(made, unseen, part(unseen))
    reconstruct(made, seen, part(seen))
    assert error_of(made, unseen, part(unseen)) < before / 2


def test_reconstruction_changes_nothing_where_nothing_was_lost():
    part, x = clustered()
    made, _ = separate(part, x, experts=4, k=4, by="weights", rng=np.random.default_rng(0))
    reconstruct(made, x, part(x))
    torch.testing.assert_close(made.eval()(x), part(x), rtol=1e-3, atol=1e-3)


def test_reconstruction_takes_back_what_the_layers_before_lost():
    part, x = clustered()
    drift = torch.randn(D)
    made, _ = separate(part, x, experts=4, k=2, by="weights", rng=np.random.default_rng(0))
    reconstruct(made, x, part(x) + drift)
    assert error_of(made, x, part(x) + drift) < 0.05


def test_a_few_loud_tokens_do_not_decide_where_the_norm_will_quieten_them():
    part, x = clustered()
    loud = torch.cat([x, 40 * torch.randn(8, D)])
    quiet = torch.cat([torch.ones(len(x)), torch.full((8,), 1e-3)])
    scale = Scale(quiet, torch.ones(D))
    made, _ = separate(
        part, loud, experts=4, k=1, by="coactivation", rng=np.random.default_rng(0), scale=scale
    )
    reconstruct(made, loud, part(loud), scale)
    even, _ = separate(part, loud, experts=4, k=1, by="coactivation", rng=np.random.default_rng(0))
    reconstruct(even, loud, part(loud))
    assert error_of(made, x, part(x)) < error_of(even, x, part(x)) / 2


def test_an_error_counts_by_its_own_outputs_spread_and_filling_counts_nothing():
    spread = torch.tensor([0.01, 1.0, 100.0])
    yardstick = Yardstick(layers=spread.square()[None], pooled=spread.square())
    wanted = (torch.zeros(2, 3), [torch.zeros(2, 4, 3)])
    used = torch.tensor([[True, True, False, False], [True, True, True, False]])
    layer = torch.where(used[..., None], spread, torch.full((3,), 1e6))
    loss = yardstick.loss((2 * spread.expand(2, 3), [layer]), wanted, used)
    assert loss == pytest.approx(4 + 1)
