"""A model in training: its variables, its optimiser and the compiled step.

Comes in: a recipe, then batches of uint8 images and labels. Goes out: updated variables, and per
step the means named in ``Trainer.metrics``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from tinyrobust.recipes import Recipe
from tinyrobust.tasks import Images, Labels
from tinyrobust.train import attack, teacher, terms
from tinyrobust.train.jacobian import directions, projected_norm, signs
from tinyrobust.train.layers import build_model, jacobian_strengths, keras, kernel_layers
from tinyrobust.train.quantizers import Draw

_METRICS = ("cross_entropy", "jacobian", "accuracy", "divergence")
_START_STREAM = 7_919  # random streams of the attack's start, apart from those of the quantisers
_NOISE = 2.0  # the noise of noisy_step, of eps (de Jorge et al. 2022)
_ONE_STEP = ("single_step", "noisy_step")
_FREE_STEPS = {"single_step": 1.25, "noisy_step": 1.0, "pgd": 0.25, "trades": 0.25}


class Trainer:
    """A model in training; ``step`` updates it.

    ``attack_steps`` may be raised between two steps (the guard against catastrophic overfitting
    does): steps are then compiled anew.
    """

    def __init__(self, recipe: Recipe) -> None:
        training = recipe.training
        keras.utils.set_random_seed(training.seed)
        self.recipe = recipe
        self.draw = Draw(training.seed)
        self.model = build_model(recipe, self.draw)
        self.optimizer = _optimizer(recipe)
        self.optimizer.build(self.model.trainable_variables)
        self.classes = int(self.model.output_shape[-1])
        strengths = jacobian_strengths(recipe)
        total = sum(strengths.values())
        self.part = round(training.batch_size * recipe.jacobian.batch_fraction) if total else 0
        self.shares = [strength / total for strength in strengths.values() if total]
        outputs = [self.model.get_layer(name).output for name in strengths]
        self.observed = keras.Model(self.model.input, [*outputs, self.model.output])
        self.teacher = teacher.load(recipe, self.model)
        self.terms = terms.build(recipe, self.model)
        self.averages = [
            tf.Variable(v, trainable=False, name=f"average{i}")
            for i, v in enumerate(self.model.trainable_variables if training.average else ())
        ]
        taught = self.teacher is not None
        self._entropy_share = 1.0 - recipe.distillation.weight * taught
        self._strength = tf.Variable(0.0, trainable=False, name="jacobian_strength")
        self._eps = tf.Variable(0.0, trainable=False, name="attack_eps")
        self._step_size = tf.Variable(0.0, trainable=False, name="attack_step")
        self.attack_steps = 1
        if recipe.adversarial.method in ("pgd", "trades"):
            self.attack_steps = recipe.adversarial.steps

    @property
    def attack_steps(self) -> int:
        """Steps of the attack inside a training step."""
        return self._attack_steps

    @attack_steps.setter
    def attack_steps(self, count: int) -> None:
        self._attack_steps = count
        self._step = tf.function(self._loss_and_update)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what ``step`` returns."""
        return (*_METRICS, *self.terms)

    @property
    def variables(self) -> list[Any]:
        """All that the next step depends on, but ``attack_steps``."""
        return [
            *self.model.variables, *self.optimizer.variables, self.draw.counter, *self.averages
        ]  # fmt: skip

    def start_from(self, weights: list[Any]) -> None:
        """Set the model's weights, as ``model.set_weights`` takes them, and their averages."""
        self.model.set_weights(weights)
        pairs = zip(self.averages, self.model.trainable_variables, strict=False)
        for average, variable in pairs:
            average.assign(variable)

    def weights(self) -> list[npt.NDArray[Any]]:
        """The model's weights as ``model.get_weights`` orders them, averaged if the recipe says."""
        averages = {
            v.ref(): a for v, a in zip(self.model.trainable_variables, self.averages, strict=False)
        }
        return [averages.get(v.ref(), v).numpy() for v in self.model.weights]

    def step(self, images: Images, labels: Labels, progress: float) -> Any:
        """One update, ``progress`` epochs into the training, from uint8 images and labels.

        Returns the batch's ``metrics`` as a tensor: cross-entropy, squared Jacobian norm
        (weighted mean over the layers), accuracy (on attacked images where there is an attack;
        TRADES: on clean ones), TRADES's divergence, and the further terms of the loss.
        """
        jacobian, adversarial = self.recipe.jacobian, self.recipe.adversarial
        self.optimizer.learning_rate.assign(learning_rate(self.recipe, progress))
        self.draw.progress.assign(progress / self.recipe.training.epochs)
        strength = sum(jacobian_strengths(self.recipe).values())
        self._strength.assign(strength * _warmth(progress, jacobian.warmup_epochs))
        if adversarial.method != "none":
            eps = adversarial.eps_255 * _warmth(progress, adversarial.warmup_epochs)
            self._eps.assign(eps)
            self._step_size.assign(self._attack_step(eps))
        return self._step(images, labels)

    def _attack_step(self, eps_255: float) -> float:
        adversarial = self.recipe.adversarial
        if adversarial.step_255 is not None:
            return adversarial.step_255 * eps_255 / adversarial.eps_255
        if adversarial.method in _ONE_STEP and self.attack_steps > 1:
            return eps_255 / self.attack_steps  # the guard has struck
        return _FREE_STEPS[adversarial.method] * eps_255

    def _loss_and_update(self, images: Any, labels: Any) -> Any:
        integers = tf.cast(images, tf.float32)
        variables = self.model.trainable_variables
        self.draw.advance()
        with tf.GradientTape() as tape, self.draw.sharing(kernel_layers(self.model)):
            loss, metrics = self._loss(integers, labels, tape)
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._update_averages()
        return metrics

    def _loss(self, integers: Any, labels: Any, tape: Any) -> tuple[Any, Any]:
        smoothing, method = self.recipe.training.label_smoothing, self.recipe.adversarial.method
        seen, taught = integers, None
        with tape.stop_recording():
            if self.teacher is not None:
                taught = self.teacher(integers)
            if method in (*_ONE_STEP, "pgd"):
                seen = self._attacked(integers, labels, taught)
        logits, norm = self._logits(self._input(seen))
        entropy = attack.mean_cross_entropy(logits, labels, smoothing)
        loss, apart = entropy * self._entropy_share, tf.constant(0.0)
        if method == "trades":
            with tape.stop_recording():
                attacked = self._diverted(integers, logits)
            other = self._forward(self._input(attacked))
            loss, apart = attack.trades(loss, self.recipe.adversarial.beta, logits, other)
        loss += self._strength / 2 * norm
        seen_by = terms.Step(integers, logits, labels, taught)
        further = [term(seen_by) for term in self.terms.values()]
        right = tf.reduce_mean(tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32))
        return tf.add_n([loss, *further]), tf.stack([entropy, norm, right, apart, *further])

    def _input(self, integers: Any) -> Any:
        return attack.network_input(integers, self.recipe.network.input_bits)

    def _forward(self, x: Any) -> Any:
        return self.model(x, training=True)

    def _attacked(self, integers: Any, labels: Any, taught: Any) -> Any:
        follows = self.recipe.adversarial.follows

        def loss(x: Any) -> Any:
            if follows == "teacher":
                return tf.reduce_sum(attack.divergence(taught, self._forward(x)))
            return attack.cross_entropy(self._forward(x), labels)

        noisy = self.recipe.adversarial.method == "noisy_step"
        noise, bound = (_NOISE * self._eps, attack.INPUT_MAX) if noisy else (self._eps, self._eps)
        start = attack.random_start(integers, noise, self._seed(_START_STREAM))
        return attack.ascend(
            loss, integers, start, bound, self._step_size, self.attack_steps,
            bits=self.recipe.network.input_bits,
        )  # fmt: skip

    def _diverted(self, integers: Any, clean_logits: Any) -> Any:
        clean = tf.stop_gradient(clean_logits)
        start = attack.random_start(
            integers, tf.minimum(self._eps, 1.0), self._seed(_START_STREAM)
        )  # the paper starts from a tiny normal perturbation; the least integer one is 1
        return attack.ascend(
            lambda x: tf.reduce_sum(attack.divergence(clean, self._forward(x))),
            integers, start, self._eps, self._step_size, self.attack_steps,
            bits=self.recipe.network.input_bits,
        )  # fmt: skip

    def _seed(self, stream: int) -> Any:
        seed = tf.constant(-stream - self.recipe.training.seed, tf.int32)
        return tf.stack([seed, self.draw.counter])

    def _logits(self, x: Any) -> tuple[Any, Any]:
        """Logits of ``x``, and the images' mean squared Jacobian norm, weighted over the layers."""
        if not self.part:
            return self._forward(x), tf.constant(0.0)
        *outputs, _ = self.observed.outputs
        units = [self._directions(i, output) for i, output in enumerate(outputs)]
        (*_, logits), norms = projected_norm(
            lambda part: self.observed(part, training=True), x[: self.part], units, self.shares
        )
        if self.part < x.shape[0]:
            logits = tf.concat([logits, self._forward(x[self.part :])], axis=0)
        return logits, tf.reduce_mean(norms)

    def _directions(self, index: int, output: Any) -> Any:
        shape = (self.recipe.jacobian.projections, self.part, *output.shape[1:])
        seed = self._seed(1 + index)
        if len(shape) > 3:
            return signs(shape, seed)
        return directions(tf.random.stateless_normal(shape, seed))

    def _update_averages(self) -> None:
        if not self.averages:
            return
        steps = tf.cast(self.draw.counter, tf.float32)
        decay = tf.minimum(self.recipe.training.average, (1.0 + steps) / (10.0 + steps))
        for average, variable in zip(self.averages, self.model.trainable_variables, strict=True):
            average.assign_sub((1.0 - decay) * (average - variable))


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate at ``progress`` epochs: linear warm-up, then the recipe's schedule."""
    optimizer, epochs = recipe.training.optimizer, recipe.training.epochs
    warmup = min(optimizer.warmup_epochs, epochs / 2)
    if progress < warmup:
        return optimizer.learning_rate * progress / warmup
    done = (progress - warmup) / (epochs - warmup)
    fall = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "one_cycle": 1 - done, "constant": 1.0}
    return optimizer.learning_rate * fall[optimizer.schedule]


def _warmth(progress: float, warmup_epochs: float) -> float:
    return min(1.0, progress / warmup_epochs) if warmup_epochs else 1.0


def _optimizer(recipe: Recipe) -> Any:
    training = recipe.training
    common: dict[str, Any] = {
        "learning_rate": training.optimizer.learning_rate,
        "weight_decay": training.weight_decay or None,
        "jit_compile": False,
    }
    if training.optimizer.kind == "sgd":
        optimizer = keras.optimizers.SGD(
            momentum=training.optimizer.momentum, nesterov=True, **common
        )
    else:
        optimizer = keras.optimizers.Adam(**common)
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
    return optimizer
