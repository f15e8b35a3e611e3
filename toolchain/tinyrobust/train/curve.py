"""The training curve. Comes in: the history. Goes out: a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(title: str, history: Sequence[Mapping[str, float]]) -> bytes:
    """PNG of loss and accuracy over the epochs."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["cross_entropy"] for row in history], label="cross-entropy")
    left.set(xlabel="epoch", ylabel="cross-entropy")
    if any(row["jacobian"] > 0 for row in history):
        other = left.twinx()
        other.plot(epochs, [row["jacobian"] for row in history], color="C1")
        other.set(ylabel="squared Jacobian norm", yscale="log")
        left.plot([], [], color="C1", label="squared Jacobian norm")
    left.legend()
    right.plot(epochs, [100 * row["accuracy"] for row in history], label="training")
    right.plot(
        epochs,
        [100 * row["validation_accuracy"] for row in history],
        label="validation, deterministic weights",
    )
    if all("validation_robust" in row for row in history):
        right.plot(
            epochs,
            [
                100 * row.get("validation_average_robust", row["validation_robust"])
                for row in history
            ],
            label="validation, PGD-10",
        )
    right.set(xlabel="epoch", ylabel="accuracy (%)")
    right.legend()
    figure.suptitle(title)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
