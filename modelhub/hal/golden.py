"""Golden answers: every operator in float64 numpy, written for clarity, used by no model."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

Array = np.ndarray


def _wide(*arrays: Array) -> list[Array]:
    return [np.asarray(array, np.float64) for array in arrays]


def gelu(x: Array) -> Array:
    """x·Φ(x), exact (not the tanh curve)."""
    return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


ACTIVATIONS = {"gelu": gelu, "silu": silu, "relu": relu}


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def matmul(a: Array, b: Array) -> Array:
    """Shapes: a (M, K), b (K, N) -> (M, N)."""
    a, b = _wide(a, b)
    return a @ b


def ffn_gelu(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Array:
    """w2 · gelu(w1 · x + b1) + b2. Shapes: x (T, D), w1 (F, D), b1 (F), w2 (D, F), b2 (D) -> (T, D)."""
    x, w1, b1, w2, b2 = _wide(x, w1, b1, w2, b2)
    return gelu(x @ w1.T + b1) @ w2.T + b2


def layernorm_residual(x: Array, residual: Array, gain: Array, bias: Array, eps: float) -> Array:
    """layernorm(x + residual) · gain + bias over the last axis. Shapes: (T, D) -> (T, D)."""
    x, residual, gain, bias = _wide(x, residual, gain, bias)
    total = x + residual
    centred = total - total.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * gain + bias


def attention(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """Scaled dot-product attention; `mask` is 1 for a key that may be read. Shapes: q, k, v (B, H, S, Dh), mask (B, S)."""
    q, k, v = _wide(q, k, v)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    scores = np.where(np.asarray(mask)[:, None, None, :] > 0, scores, -np.inf)
    return softmax(scores) @ v


def moe_experts(x: Array, weights: Array, experts: Array, w1: Array, w2: Array, activation: str) -> Array:
    """Each token's experts w2 · act(w1 · x), mixed; a weight of zero leaves its expert out.

    Shapes: x (T, D), weights and experts (T, K), w1 (E, F, D), w2 (E, D, F) -> (T, D).
    """
    x, weights, w1, w2 = _wide(x, weights, w1, w2)
    act, out = ACTIVATIONS[activation], np.zeros_like(x)
    for token in range(len(x)):
        for weight, expert in zip(weights[token], experts[token], strict=True):
            if weight:
                out[token] += weight * (w2[expert] @ act(w1[expert] @ x[token]))
    return out


def topk_gate(logits: Array, bias: Array, k_min: int, k_max: int, mass: float) -> tuple[Array, Array]:
    """Choose by softmax + bias, keep the smallest k in k_min..k_max whose mass passes `mass`, mix by softmax alone.

    Shapes: logits (T, E), bias (E) -> weights (T, k_max), zero where left out, and experts (T, k_max) int64, best first.
    """
    logits, bias = _wide(logits, bias)
    probabilities = softmax(logits)
    experts = np.argsort(-(probabilities + bias), axis=-1, kind="stable")[:, :k_max]
    weights = np.take_along_axis(probabilities, experts, -1)
    before = weights.cumsum(axis=-1) - weights
    kept = ((np.arange(k_max) < k_min) | (before < mass)).cumprod(axis=-1)
    weights = weights * kept
    return weights / weights.sum(axis=-1, keepdims=True), experts.astype(np.int64)


def int8_matmul(x: Array, w: Array, scale: Array) -> Array:
    """x · (w · scale): whole-number weights with one scale a column. Shapes: x (T, K), w (K, N) int8, scale (N)."""
    x, w, scale = _wide(x, w, scale)
    return x @ (w * scale)
