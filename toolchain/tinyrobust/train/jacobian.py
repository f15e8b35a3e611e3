"""Jacobian regularisation by random projection, of the logits and of chosen layers.

Comes in: a network's forward pass, its inputs and random directions, inside a gradient tape. Goes
out: an estimate of the squared Frobenius norm of d output / d input, which a further tape can
differentiate.

J. Hoffman, D. A. Roberts, S. Yaida, "Robust Learning with Jacobian Regularization", 2019,
arXiv:1908.02729, algorithm 1: for directions v of unit length with E[v v^T] = I / K over the K
outputs, E[K ||v J||^2] = ||J||_F^2.

Several layers share one backward pass: for independent v_l with mean zero,
E[||sum_l sqrt(s_l K_l) v_l J_l||^2] = sum_l s_l ||J_l||_F^2, since the cross terms vanish.

The Jacobian is that of the network as it is deployed, where batch normalisation is an affine map
and no image influences another; that also keeps the second differentiation cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tinyrobust.train.training_layers import deployed_gradients


def directions(normal: Any) -> Any:
    """Rows of standard normal numbers [..., K] scaled to unit length: uniform on the sphere."""
    return normal / tf.norm(normal, axis=-1, keepdims=True)


def signs(shape: Sequence[int], seed: Any) -> Any:
    """Random directions [P,N,...] of unit length whose entries are all +-1 / sqrt(K).

    For a layer of many outputs K: 32 of them cost one random number.
    """
    size = math.prod(shape[2:])
    words = -(-math.prod(shape) // 32)
    random = tf.random.stateless_uniform([words, 1], seed, None, None, tf.int32)
    bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(random, tf.range(32)), 1)
    flat = tf.reshape(bits, [-1])[: math.prod(shape)]
    return (2.0 * tf.cast(tf.reshape(flat, shape), tf.float32) - 1.0) / math.sqrt(size)


def projected_norm(
    forward: Callable[[Any], Sequence[Any]],
    inputs: Any,
    units: Sequence[Any],
    strengths: Sequence[float] = (1.0,),
) -> tuple[Sequence[Any], Any]:
    """Outputs [N,...] of ``forward(inputs)``, and per image the estimate [N] of
    ``sum_l strengths[l] * ||d outputs[l] / d inputs||_F^2``.

    ``units[l]`` [P,N,...] holds P unit directions per image for output l; the estimate is the
    mean over P. Outputs beyond the units are returned, not projected.
    """
    count = units[0].shape[0]
    with tf.GradientTape(persistent=count > 1, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = forward(inputs)
        projections = [
            sum(
                math.sqrt(strength * math.prod(unit.shape[2:])) * tf.reduce_sum(output * unit[p])
                for output, unit, strength in zip(outputs, units, strengths, strict=False)
            )
            for p in range(count)
        ]
    total = 0.0
    for projection in projections:
        with deployed_gradients():
            gradient = tape.gradient(projection, inputs)
        total += tf.reduce_sum(gradient**2, axis=list(range(1, len(inputs.shape))))
    return outputs, total / count
