"""What names a training run: its settings, and the model and trainer made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from evsim.errors import InputError
from evsim.experiment.losses import loss_entry, make_loss
from evsim.experiment.named import convert
from evsim.experiment.notation import Part, parts_of
from evsim.experiment.pairs import check_pair
from evsim.experiment.rules import make_rule, rule_entry
from evsim.io.datasets import LOADERS, Dataset, load_dataset
from evsim.learning import (
    SGD,
    Adam,
    Analog,
    AvgPool2d,
    Conv2d,
    CountRegularisation,
    Dense,
    GradientClipping,
    OnlineTrainer,
    Readout,
    Recurrent,
    Sequential,
    SilentVoltage,
    SpikingPool2d,
    SumPool2d,
    Trainer,
    TrainingOptions,
    WeightBumping,
    WeightClipping,
    calibrate,
)
from evsim.learning.baselines.ann import ANNTrainer, Linear, Perceptron, count_scale
from evsim.learning.losses import PSCCount, PSCDistance
from evsim.learning.training.optimisers import Optimiser
from evsim.learning.training.regularisers import Regulariser
from evsim.neurons.lif import LIF
from evsim.ranks.alone import ALONE
from evsim.ranks.protocol import Communicator


@dataclass(frozen=True)
class RunConfig(TrainingOptions):
    """Everything that names a training run. Defaults: the MNIST network of HM2-BP (784-800-10).

    data_options, rule_options, loss_options : by name, what the data set's loader, the rule and the loss take
    network : all hidden layers in the papers' notation, see `notation`; None: dense ones, as ``hidden`` says
    delay : ms, of all synapses between layers
    thresholds : v_th of each spiking layer; weights are then drawn from U(-1, 1), or as weight_scale says, and no
        threshold is calibrated. (): v_th = 1 with weight_scale, calibrated without
    recurrent_from : the first hidden layer that recurrent_scale > 0 makes recurrent, counted from 0
    trainable : parameters of the neurons that are trained, see ``Dense``; a Readout trains those that it has
    updates : of the weights, "after" a sample or "within", at the end of each window of a loss at every moment
    every, since : ms, windows of a loss at every moment, see ``Readout``; every None: a tenth of the sample
    """

    dataset: str = "mnist"
    data_dir: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)
    train_size: int | None = None
    test_size: int | None = None
    rule: str = "hm2bp"
    rule_options: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[int, ...] = (800,)
    network: str | None = None
    tau_m: float = 64.0
    tau_syn: float = 8.0
    t_ref: float = 2.0
    weight_mean: tuple[float, ...] = ()
    weight_scale: tuple[float, ...] = ()
    delay: float = 0.0
    thresholds: tuple[float, ...] = ()
    trainable: tuple[str, ...] = ()
    lateral_inhibition: float = 0.0
    recurrent_scale: float = 0.0
    recurrent_from: int = 0
    recurrent_delay: float = 1.0
    trainable_delays: str | None = None
    max_delay: float = 10.0
    hidden_count: float = 4.0
    output_count: float = 8.0
    loss: str = "count"
    loss_options: dict[str, Any] = field(default_factory=dict)
    weighting: float | None = None
    every: float | None = None
    since: float = 0.0
    updates: str = "after"
    bump: float = 0.0
    count_regularisation: float = 0.0
    silent_voltage: float = 0.0
    gradient_norm: float = 0.0
    weight_limit: float = 0.0
    optimiser: str = "adam"
    weight_decay: float = 0.0
    rate: float = 5e-3
    validation: int = 5000
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.updates not in ("after", "within"):
            raise InputError(f"updates must be after or within; got {self.updates!r}.")
        _ = self.parts

    @property
    def parts(self) -> tuple[Part, ...]:
        """The hidden layers. Raises InputError : a ``network`` that is not in the notation."""
        return parts_of(self.network) if self.network is not None else tuple(Part("dense", n) for n in self.hidden)


def load_data(config: RunConfig) -> Dataset:
    """The data set of a run.

    Raises DataError, ValueError : see ``load_dataset``; also an option of another type than the data set takes.
    """
    options = convert(f"the data set {config.dataset}", LOADERS.get(config.dataset, dict), config.data_options)
    return load_dataset(config.dataset, config.data_dir, config.train_size, config.test_size, **options)


def config_of(state: dict[str, Any], **changes: Any) -> RunConfig:
    """The settings of a saved run."""
    known = {f.name for f in fields(RunConfig)}
    return RunConfig(**{**{k: v for k, v in state["parameters"].items() if k in known}, **changes})


def changed_settings(before: RunConfig, now: RunConfig) -> list[str]:
    """What of the settings of a saved run would be others now, but for those that change no result or come from the
    data."""
    free = {"threads", "data_dir", "validation", "duration", "grid"}
    return [
        f"{f.name} = {getattr(before, f.name)!r} (now {getattr(now, f.name)!r})"
        for f in fields(RunConfig)
        if f.name not in free and getattr(before, f.name) != getattr(now, f.name)
    ]


def build(config: RunConfig, data: Dataset, comm: Communicator = ALONE) -> tuple[Sequential, Trainer]:
    """Model and trainer of a run, whose batches the ranks of ``comm`` share.

    Raises ValueError : settings that do not fit together or the data set.
    """
    optimiser: Optimiser = (
        SGD(momentum=0.9, weight_decay=config.weight_decay)
        if config.optimiser == "sgd"
        else Adam(weight_decay=config.weight_decay if config.optimiser == "adamw" else 0.0)
    )
    rule, trainer = make_rule(config.rule, config.rule_options), rule_entry(config.rule).trainer
    if issubclass(trainer, ANNTrainer):
        hidden = () if isinstance(rule, Linear) else config.hidden
        perceptron = Perceptron([data.features, *hidden, data.n_classes])
        return perceptron, trainer(
            perceptron, rule, optimiser, config, count_scale(data.x_train), comm=comm
        )
    by_targets = data.targets is not None and "targets" in loss_entry(config.loss).given
    n_out = data.targets.size if by_targets else data.n_classes  # type: ignore[union-attr]
    _check_thresholds(config)
    check_pair(config.rule, config.rule_options, config.loss)
    model = Sequential(*_layers(config, data, n_out))
    loss = make_loss(config.loss, config.loss_options, data, config.duration, config.hidden_count * config.tau_syn)
    if loss.signal not in rule.signals and isinstance(loss, (PSCCount, PSCDistance)):
        loss = loss.by_times()
    if config.updates == "within":
        trainer = OnlineTrainer
    return model, trainer(model, rule, loss, optimiser, config, _regularisers(config), comm=comm)


def start(config: RunConfig, model: Sequential) -> bool:
    """Draw the weights; True if thresholds are to be calibrated to them.

    Raises ValueError : numbers that do not fit the layers.
    """
    if isinstance(model, Perceptron) or not config.weight_scale:
        model.init(config.seed)
        return not isinstance(model, Perceptron) and not config.thresholds
    means = config.weight_mean or (0.0,) * len(config.weight_scale)
    weighted = ["weight" in layer.weight_shapes() for layer in model.layers]
    if len(config.weight_scale) != sum(weighted) or len(means) != sum(weighted):
        said = f"{sum(weighted)} layers" if all(weighted) else f"{sum(weighted)} layers with weights"
        raise InputError(f"weight_mean and weight_scale need one number for each of {said}.")
    drawn = iter(zip(config.weight_scale, means))
    scales = [next(drawn) if has_weights else (0.0, 0.0) for has_weights in weighted]
    model.init(config.seed, scale=[scale for scale, _ in scales], mean=[mean for _, mean in scales])
    return False


def calibrate_start(config: RunConfig, model: Sequential, trainer: Trainer, data: Dataset) -> list[float]:
    """Thresholds of spiking layers by the mean counts that the run asks for; returns them.

    A Readout's weights are scaled so that the numbers that the loss's softmax sees differ by about 1.
    """
    counts = [config.hidden_count] * len(config.parts)
    last = config.output_count if loss_entry(config.loss).readout is None else 1.0 / getattr(trainer.loss, "scale", 1.0)
    return calibrate(model, data.x_train, config, [*counts, last])


def _check_thresholds(config: RunConfig) -> None:
    n = sum(part.spikes for part in config.parts) + (loss_entry(config.loss).readout is None)
    if config.thresholds and len(config.thresholds) != n:
        raise InputError(f"--threshold needs one number for each of {n} spiking layers; got {len(config.thresholds)}.")


def _layers(config: RunConfig, data: Dataset, n_out: int) -> list[Any]:
    """All layers. Raises InputError : maps on data that have none."""
    n_in = data.features + (config.bias_spike is not None)
    shape = None
    if any(part.kind != "dense" for part in config.parts):
        if data.grid is None or config.bias_spike is not None:
            raise InputError(
                "convolutions and pools need inputs on a grid of pixels, without a bias spike; give --hidden, or data "
                "of pixels and no --bias-spike."
            )
        shape = data.grid[::-1]
    layers: list[Any] = []
    for k, part in enumerate(config.parts):
        layers.append(_layer(config, k, n_in, part.size) if part.kind == "dense" else _map(config, k, part, shape))
        n_in, shape = layers[-1].n_out, getattr(layers[-1], "out_shape", None)
    return [*layers, _layer(config, len(layers), n_in, n_out)]


def _map(config: RunConfig, k: int, part: Part, shape: Any) -> Any:
    """A convolution or pool above maps of a shape, (channels, height, width)."""
    if part.kind in ("average pool", "sum pool"):
        return (AvgPool2d if part.kind == "average pool" else SumPool2d)(shape, part.size)
    options: dict[str, Any] = {"trainable": config.trainable, **_synapses(config)}
    if part.kind == "spiking pool":
        return SpikingPool2d(shape, part.size, _neuron(config, k), **options)
    return Conv2d(
        shape, part.size, part.kernel, _neuron(config, k), stride=part.stride, padding=part.padding, **options
    )


def _neuron(config: RunConfig, k: int) -> LIF:
    """The neurons of layer k that spikes, with its threshold if that is given."""
    neuron = LIF(tau_m=config.tau_m, tau_syn=config.tau_syn, t_ref=config.t_ref)
    if not config.thresholds:
        return neuron
    return neuron.with_(v_th=config.thresholds[sum(part.spikes for part in config.parts[:k])])


def _synapses(config: RunConfig) -> dict[str, Any]:
    if config.trainable_delays is not None:
        return {"trainable_delays": config.trainable_delays, "max_delay": config.max_delay}
    return {"delay": config.delay}


def _layer(config: RunConfig, k: int, n_in: int, n_out: int) -> Any:
    """Layer k, counted from 0, which is not of maps."""
    last = k == len(config.parts)
    neuron = LIF(tau_m=config.tau_m, tau_syn=config.tau_syn, t_ref=config.t_ref)
    synapses = _synapses(config)
    entry = loss_entry(config.loss)
    if last and entry.readout is not None:
        if config.trainable_delays is not None:
            synapses["trainable_delays"] = "input"
        trainable = () if entry.momentary else tuple(name for name in config.trainable if name != "v_th")
        windows: dict[str, Any] = {}
        if entry.momentary:
            windows = {"every": config.every or config.duration / 10.0, "since": config.since}
        return Readout(n_in, n_out, neuron, entry.readout, config.weighting, trainable=trainable, **windows, **synapses)
    neuron = _neuron(config, k)
    if k == 0 and config.encoder == "analog":
        return Analog(n_in, n_out, neuron)
    synapses["trainable"] = config.trainable
    if not last and config.recurrent_scale > 0 and k >= config.recurrent_from:
        synapses |= {"recurrent_scale": config.recurrent_scale, "recurrent_delay": config.recurrent_delay}
        return Recurrent(n_in, n_out, neuron, **synapses)
    return Dense(n_in, n_out, neuron, lateral_inhibition=config.lateral_inhibition if last else 0.0, **synapses)


def _regularisers(config: RunConfig) -> list[Regulariser]:
    out: list[Regulariser] = []
    if config.bump > 0:
        out.append(WeightBumping(amount=config.bump, rate=config.rate))
    if config.count_regularisation > 0:
        out.append(CountRegularisation(config.count_regularisation))
    if config.silent_voltage > 0:
        out.append(SilentVoltage(config.silent_voltage))
    if config.gradient_norm > 0:
        out.append(GradientClipping(config.gradient_norm))
    if config.weight_limit > 0:
        out.append(WeightClipping(config.weight_limit))
    return out
