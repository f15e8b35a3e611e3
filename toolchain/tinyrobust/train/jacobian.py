"""Jacobian regularisation by random projection.

Comes in: logits and the input they came from, inside a gradient tape. Goes out: an estimate of
the squared Frobenius norm of d logits / d input, which a further tape can differentiate.

J. Hoffman, D. A. Roberts, S. Yaida, "Robust Learning with Jacobian Regularization", 2019,
arXiv:1908.02729, algorithm 1: for directions v uniform on the unit sphere of the K outputs,
E[K ||v J||^2] = ||J||_F^2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def directions(normal: Any) -> Any:
    """Rows of standard normal numbers [..., K] scaled to unit length: uniform on the sphere."""
    return normal / tf.norm(normal, axis=-1, keepdims=True)


def projected_norm(forward: Callable[[Any], Any], inputs: Any, unit: Any) -> tuple[Any, Any]:
    """Logits [N,K] of ``inputs`` [N,...], and the estimated squared Frobenius norm per image [N].

    ``unit`` [P,N,K] holds P unit directions per image; the estimate is their mean, times K.
    """
    count, classes = unit.shape[0], unit.shape[-1]
    with tf.GradientTape(persistent=count > 1, watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        logits = forward(inputs)
        projections = [tf.reduce_sum(logits * unit[p]) for p in range(count)]
    total = 0.0
    for projection in projections:
        gradient = tape.gradient(projection, inputs)
        total += tf.reduce_sum(gradient**2, axis=list(range(1, len(inputs.shape))))
    return logits, total * (classes / count)
