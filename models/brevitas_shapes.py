"""A ternary network of PyTorch and Brevitas, from training to the board: ``shapes`` as example.

In: nothing but the procedural task. Out: FILE.onnx in QONNX, and the test accuracy that PyTorch
measures. Goes on with ``tinyrobust convert FILE.onnx --task shapes --out runs/brevitas-shapes`` and
then any command with ``--model runs/brevitas-shapes``.

    pip install 'tinyrobust[brevitas]'
    python models/brevitas_shapes.py --out shapes.onnx

What the converter needs of a network: its input, and what every layer with weights reads, passes
an unsigned quantiser; weights have one scale per tensor or output channel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import click
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.quant import SignedTernaryWeightPerTensorConst, Uint8ActPerTensorFloat
from torch import nn

from tinyrobust import tasks

TASK = "shapes"


class Ternary(SignedTernaryWeightPerTensorConst):  # type: ignore[misc]
    """-s, 0, +s with s the mean magnitude of an output channel; zero below s / 2."""

    scaling_impl_type = "stats"
    scaling_stats_op = "ave"
    scaling_per_output_channel = True
    threshold = 0.5


class Pixels(Uint8ActPerTensorFloat):  # type: ignore[misc]
    """The image's bytes as they are: codes of scale 1/255."""

    scaling_impl_type = "const"
    scaling_init = 1.0


class Codes(Uint8ActPerTensorFloat):  # type: ignore[misc]
    """Activations of seven bits, which the device's kernels like, with a trained scale."""

    bit_width = 7
    scaling_impl_type = "parameter"
    scaling_init = 4.0


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A ternary convolution without bias, and its batch normalisation."""
    layer = qnn.QuantConv2d(
        inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False,
        weight_quant=Ternary,
    )  # fmt: skip
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Net(nn.Module):
    """The recipe ``shapes-small`` in PyTorch: two convolutions, a residual block, a mean."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pixels = qnn.QuantIdentity(act_quant=Pixels)
        self.conv1, self.act1 = conv(3, 8, 2), qnn.QuantReLU(act_quant=Codes)
        self.conv2, self.act2 = conv(8, 16, 2), qnn.QuantReLU(act_quant=Codes)
        self.long1, self.act3 = conv(16, 16, 2), qnn.QuantReLU(act_quant=Codes)
        self.long2, self.short = conv(16, 16), conv(16, 16, 2, 1)
        self.act4, self.mean = qnn.QuantReLU(act_quant=Codes), qnn.QuantIdentity(act_quant=Codes)
        self.dense = qnn.QuantLinear(16, classes, bias=True, weight_quant=Ternary)
        self.scores = nn.BatchNorm1d(classes)

    def forward(self, x: Any) -> Any:
        """Images in 0..1, (N, C, H, W), to scores (N, classes)."""
        x = self.act1(self.conv1(self.pixels(x)))
        x = self.act2(self.conv2(x))
        x = self.act4(self.long2(self.act3(self.long1(x))) + self.short(x))
        return self.scores(self.dense(self.mean(x.mean((2, 3)))))


def load(split: Any, samples: int | None) -> tuple[Any, Any]:
    """Images (N, C, H, W) in 0..1 and classes of the task."""
    images, labels = tasks.get(TASK).load(split, samples)
    values = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    return torch.from_numpy(values), torch.from_numpy(labels.astype(np.int64))


def train(net: nn.Module, x: Any, y: Any, epochs: int, batch: int = 128) -> None:
    """Adam with one cycle of the learning rate; the last epochs see fixed statistics."""
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    net.train()
    for epoch in range(epochs):
        order, total = torch.randperm(len(x)), 0.0
        for i in range(0, len(x) - batch + 1, batch):
            picked = order[i : i + batch]
            loss = nn.functional.cross_entropy(net(x[picked]), y[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * batch
        click.echo(f"epoch {epoch + 1} of {epochs}: loss {total / len(x):.3f}")


def accuracy(net: nn.Module, x: Any, y: Any) -> float:
    """Share of the images whose class is right."""
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in x.split(500)])
    return float((found == y).float().mean())


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.onnx")
@click.option("--epochs", type=click.IntRange(min=1), default=12, show_default=True)
@click.option("--samples", type=click.IntRange(min=256), default=None, help="Training images.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(out: Path, epochs: int, samples: int | None, seed: int) -> None:
    """Train a ternary network on shapes with Brevitas and export it as QONNX."""
    torch.manual_seed(seed)
    net = Net(len(tasks.get(TASK).labels))
    train(net, *load("train", samples), epochs)
    click.echo(f"test accuracy in PyTorch: {accuracy(net, *load('test', None)):.2%}")
    export_qonnx(net, load("test", 1)[0], str(out))
    click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
