"""Training over ranks: weights, losses and accuracies are those of one process, bit for bit."""

import numpy as np
import pytest

from evsim import LIF
from evsim.errors import GradientError, InputError
from evsim.learning import (
    HM2BP,
    STLLR,
    STRSBP,
    TSSLBP,
    Adam,
    Conv2d,
    CountLoss,
    CountRegularisation,
    Dense,
    EventProp,
    GradientClipping,
    PSCCount,
    RateBased,
    Readout,
    Recurrent,
    Sequential,
    SilentVoltage,
    SpikingPool2d,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
    WeightBumping,
    ottt,
)
from evsim.learning.baselines import ANN, ANNTrainer, GridTrainer, Perceptron, SurrogateBPTT
from evsim.learning.fixed_order import LEAST
from evsim.learning.layers.analog import Analog
from evsim.learning.losses import MomentaryCrossEntropy
from evsim.learning.needs import Needs
from evsim.learning.training.online import OnlineTrainer
from evsim.ranks.threads import over_thread_ranks

T, N_IN, CLASSES = 40.0, 6, 3
NEURON = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
LAST = LIF(tau_m=20.0, tau_syn=5.0)


def model(last="integral", middle=Dense, first=Dense, **options):
    extra = {"recurrent_scale": 0.4} if middle is Recurrent else {}
    windows = {"every": 9.0} if last == "moments" else {}
    feature = "integral" if windows else last
    end = Dense(7, CLASSES, NEURON) if last == "spikes" else Readout(7, CLASSES, LAST, feature, **windows)
    out = Sequential(first(N_IN, 8, NEURON), middle(8, 7, NEURON, **extra, **options), end)
    out.init(1, scale=[0.6, 0.5, 0.5], mean=[0.8, 0.6, 0.5])
    return out


def maps(last):
    """A convolution and a pool of neurons of 2 x 3 pixels, and what reads them."""
    out = Sequential(
        Conv2d((1, 2, 3), 2, 2, NEURON, padding=1, trainable=("bias",) if last == "max" else ()),
        SpikingPool2d((2, 3, 4), 2, NEURON.with_(v_th=0.4)),
        Dense(8, CLASSES, NEURON) if last == "spikes" else Readout(8, CLASSES, LAST, last),
    )
    out.init(1, scale=[0.5, 1.0, 0.5], mean=[0.8, 0.0, 2.0])
    return out


DELAYS = {"trainable_delays": "input", "max_delay": 4.0}
BY_SYNAPSE = {"trainable_delays": "synapse", "max_delay": 4.0}
RULES = {
    "eventprop": lambda: (model("max"), EventProp(), VoltageCrossEntropy(0.1)),
    "eventprop, integral, delays": lambda: (model(**DELAYS), EventProp(), VoltageCrossEntropy(0.1)),
    "eventprop, delays by synapse": lambda: (model(**BY_SYNAPSE), EventProp(), VoltageCrossEntropy(0.1)),
    "eventprop, neurons": lambda: (
        model("max", trainable=("v_th", "tau_m", "tau_syn", "bias")), EventProp(), VoltageCrossEntropy(0.1)
    ),
    "eventprop, thresholds": lambda: (model(trainable=("v_th", "bias")), EventProp(), VoltageCrossEntropy(0.1)),
    "eventprop, recurrent": lambda: (model("max", Recurrent), EventProp(), VoltageCrossEntropy(0.1)),
    "eventprop, moments": lambda: (model("moments"), EventProp(), MomentaryCrossEntropy(0.1)),
    "hm2bp": lambda: (model("spikes"), HM2BP(), CountLoss()),
    "hm2bp, lateral": lambda: (model("spikes", lateral_inhibition=0.1), HM2BP(), CountLoss()),
    "hm2bp, readout": lambda: (model(), HM2BP(micro="meanfield"), VoltageCrossEntropy(0.1)),
    "st-rsbp": lambda: (model("spikes", Recurrent), STRSBP(), CountLoss()),
    "st-rsbp, published": lambda: (model("spikes", Recurrent), STRSBP(slopes="published"), CountLoss()),
    "tssl-bp": lambda: (model("spikes"), TSSLBP(), PSCCount(5.0, T)),
    "tssl-bp, delays": lambda: (model("max", **DELAYS), TSSLBP(inter="true"), VoltageCrossEntropy(0.1)),
    "tssl-bp, analog": lambda: (model("spikes", first=Analog), TSSLBP(silent="steps"), PSCCount(5.0, T)),
    "s-tllr": lambda: (model(), STLLR(), VoltageCrossEntropy(0.1)),
    "s-tllr, recurrent": lambda: (model("moments", Recurrent), STLLR(feedback="random"), MomentaryCrossEntropy(0.1)),
    "ottt": lambda: (model("spikes"), ottt(), CountLoss()),
    "rate-based": lambda: (model(), RateBased(), VoltageCrossEntropy(0.1)),
    "rate-based, recurrent": lambda: (model("spikes", Recurrent), RateBased(windows=3), CountLoss()),
    "rate-based, diffusion": lambda: (
        model(), RateBased(estimator="diffusion", silent_share=0.1), VoltageCrossEntropy(0.1)
    ),
    "surrogate-bptt": lambda: (model("max", Recurrent), SurrogateBPTT(), VoltageCrossEntropy(0.1)),
    "surrogate-bptt, counts": lambda: (model("spikes"), SurrogateBPTT(), CountLoss()),
    "eventprop, maps": lambda: (maps("max"), EventProp(), VoltageCrossEntropy(0.1)),
    "hm2bp, maps": lambda: (maps("spikes"), HM2BP(), CountLoss()),
    "ann": lambda: (Perceptron([N_IN, 9, CLASSES]), ANN(), None),
}  # fmt: skip

RNG = np.random.default_rng(3)
X, Y = RNG.random((52, N_IN)), np.arange(52) % CLASSES
X_TEST, Y_TEST = X[:20] ** 2, Y[:20]


def trainer(made, comm=None, regularisers=(), **changes):
    """Three steps an epoch, the last of a smaller batch."""
    network, rule, loss = made
    analog = isinstance(network.layers[0], Analog)
    settings = {"duration": T, "batch_size": 21, "rate": 1e-2, "max_rate": 150.0, "epochs": 1, "seed": 5}
    o = TrainingOptions(**{**settings, "encoder": "analog" if analog else "poisson", **changes})
    if isinstance(rule, ANN):
        network.init(1)
        return ANNTrainer(network, rule, Adam(), o, comm=comm)
    kind = GridTrainer if isinstance(rule, SurrogateBPTT) else Trainer
    return kind(network, rule, loss, Adam(), o, regularisers, comm=comm)


def outcome(trained):
    """Everything that does not say how long it took, as bytes and numbers."""
    rows = list(trained.epochs(X, Y, X_TEST, Y_TEST))
    timed = {"seconds", "samples_per_second"}
    weights = [a.tobytes() for _, a in trained.model.parameters()]
    return weights, [{k: v for k, v in row.items() if k not in timed} for row in rows]


def over(ranks, made, **more):
    return over_thread_ranks(ranks, lambda comm: outcome(trainer(made(), comm, **more)))


@pytest.mark.parametrize("name", RULES)
def test_three_steps_of_every_rule_have_the_bits_of_one_process(name):
    made = RULES[name]
    weights, rows = outcome(trainer(made()))
    start = [a.tobytes() for _, a in made()[0].parameters()]
    assert all(a != b for a, b in zip(weights, start)) or name == "ann"
    for ranks in (1, 2, 3, 4):
        for of_rank in over(ranks, made):
            assert of_rank == (weights, rows), ranks


@pytest.mark.parametrize("more", [
    {"hidden_dropout": 0.3, "boosting": 5.0, "epochs": 2, "dropout": 0.1},
    {"regularisers": [CountRegularisation(0.1, 2.0, 3.0), SilentVoltage(0.1), GradientClipping(0.5)]},
    {"regularise": (1e-2, 5.0, 2.0), "validation": 9, "threads": 2},
])  # fmt: skip
@pytest.mark.parametrize("name", ["eventprop", "hm2bp", "surrogate-bptt, counts"])
def test_what_looks_at_whole_batches_sees_whole_batches(name, more):
    wanted = outcome(trainer(RULES[name](), **more))
    for ranks in (2, 3):
        assert over(ranks, RULES[name], **more) == [wanted] * ranks


def test_weights_are_bumped_by_the_share_of_silent_samples_of_all_ranks():
    def quiet():
        network, rule, loss = RULES["eventprop"]()
        network.layers[1].weight *= 0.7
        return network, rule, loss

    def bumping():
        return [WeightBumping(allowed=0.1, amount=1e-2)]

    wanted = outcome(trainer(quiet(), regularisers=bumping()))
    assert over_thread_ranks(3, lambda comm: outcome(trainer(quiet(), comm, bumping()))) == [wanted] * 3
    assert wanted != outcome(trainer(quiet()))


@pytest.mark.parametrize("name", ["eventprop", "ann", "surrogate-bptt"])
def test_an_evaluation_is_shared_and_counts_what_one_process_counts(name):
    x = np.random.default_rng(4).random((300, N_IN))
    y = np.arange(300) % CLASSES
    wanted = trainer(RULES[name]()).evaluate(x, y)
    for tally in over_thread_ranks(3, lambda comm: trainer(RULES[name](), comm).evaluate(x, y)):
        assert tally == wanted and tally.samples == 300


def test_more_ranks_than_stretches():
    more = {"batch_size": 2 * LEAST}
    assert over_thread_ranks(5, lambda comm: trainer(RULES["hm2bp"](), comm).shares.idle(2 * LEAST)) == [3] * 5
    wanted = outcome(trainer(RULES["hm2bp"](), **more))
    assert over(5, RULES["hm2bp"], **more) == [wanted] * 5


def test_a_run_resumes_on_another_number_of_ranks():
    wanted = outcome(trainer(RULES["eventprop"](), epochs=2, boosting=5.0))
    first = over_thread_ranks(3, lambda comm: _epoch(trainer(RULES["eventprop"](), comm, epochs=2, boosting=5.0)))

    def rest(comm):
        again = trainer(RULES["eventprop"](), comm, epochs=2, boosting=5.0)
        again.load(first[0])
        weights, rows = outcome(again)
        return weights, rows

    for weights, rows in over_thread_ranks(2, rest):
        assert (weights, rows) == (wanted[0], wanted[1][1:])


def _epoch(trained):
    next(trained.epochs(X, Y, X_TEST, Y_TEST))
    return trained.state()


# ------------------------------------------------------------------------------------------- rules of users


class OwnRule:
    """The delta rule on counts, with BLAS, whose sums over samples depend on how many there are."""

    signals = ("counts",)
    needs = Needs(recurrent=False, lateral=False, features=(), delays="one", trained_delays=False, parameters=False)

    def backward(self, layer, inputs, outputs, signal, t_stop, *, is_output=False, wants_signal=True, threads=1):
        return {"weight": inputs.counts().T.astype(float) @ signal}, signal @ layer.weight.T


def test_a_rule_that_knows_nothing_of_ranks_is_trained_over_them():
    def made():
        return model("spikes"), OwnRule(), CountLoss()

    wanted = outcome(trainer(made()))
    for ranks in (2, 3):
        assert over(ranks, made) == [wanted] * ranks


@pytest.mark.parametrize("rule, said", [
    (RateBased(reference_step=None), "RateBased looks at whole batches"),
    (TSSLBP(warm_up=0.5), "TSSLBP looks at whole batches"),
])  # fmt: skip
def test_a_rule_that_looks_at_whole_batches_is_refused_over_ranks_alone(rule, said):
    loss = PSCCount(5.0, T) if isinstance(rule, TSSLBP) else CountLoss()
    trainer((model("spikes"), rule, loss))
    with pytest.raises(GradientError, match=said):
        over_thread_ranks(2, lambda comm: trainer((model("spikes"), rule, loss), comm))


def test_updates_within_a_sample_are_refused_over_ranks():
    def online(comm):
        o = TrainingOptions(duration=T)
        rule = ottt(feedback="random")
        return OnlineTrainer(model("moments"), rule, MomentaryCrossEntropy(0.1), Adam(), o, comm=comm)

    online(None)
    with pytest.raises(GradientError, match="not shared among ranks"):
        over_thread_ranks(2, online)


def test_a_rule_that_says_something_else_of_its_sums_is_refused():
    rule = OwnRule()
    rule.splits = "half"
    with pytest.raises(GradientError, match=r"OwnRule\.splits must be one of halves, stretches, never; got 'half'"):
        trainer((model("spikes"), rule, CountLoss()))


# ------------------------------------------------------------------------------------------- what goes wrong


def test_weights_that_differ_end_the_run_on_all_ranks_with_a_sentence_that_names_them():
    said = []

    def run(comm):
        trained = trainer(RULES["eventprop"](), comm)
        if comm.rank == 1:
            trained.model.layers[0].weight[0, 0] += 1e-15
        try:
            list(trained.epochs(X, Y, X_TEST, Y_TEST))
        except InputError as error:
            said.append(str(error))

    over_thread_ranks(3, run)
    assert len(said) == 3 and len(set(said)) == 1
    assert "after epoch 1 the weights of rank 1 differ from those of rank 0" in said[0]


def test_a_failure_of_one_rank_ends_the_others():
    class Failing(OwnRule):
        def __init__(self, rank):
            self.rank = rank

        def backward(self, *arguments, **switches):
            if self.rank == 1:
                raise GradientError("no gradient on rank 1")
            return super().backward(*arguments, **switches)

    with pytest.raises(GradientError, match="no gradient on rank 1"):
        over_thread_ranks(3, lambda comm: outcome(trainer((model("spikes"), Failing(comm.rank), CountLoss()), comm)))
