"""The torch bridge: torch's own gradient check, and training by torch's optimisers."""

import io

import numpy as np
import pytest

from evsim import LIF
from evsim.learning import Dense, Readout, Sequential

torch = pytest.importorskip("torch")

from evsim.learning.torch import SpikingModule  # noqa: E402 - needs torch

NEURON = LIF(tau_m=20.0, tau_syn=5.0)


def module(readout: bool = False, **delays):
    last = Readout(6, 3, NEURON) if readout else Dense(6, 3, NEURON, **delays)
    model = Sequential(Dense(4, 6, NEURON, **delays), last)
    model.init(seed=3, scale=[0.6, 0.4], mean=[3.5, 2.5])
    return SpikingModule(model, t_stop=60.0)


def some_times(n=3):
    rng = np.random.default_rng(5)
    return torch.tensor(rng.uniform(1.0, 20.0, (n, 4)), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("changes", [
    {},
    {"readout": True},
    {"trainable_delays": "synapse", "max_delay": 4.0},
    {"trainable_delays": "input", "max_delay": 4.0},
])  # fmt: skip
def test_torch_finds_the_gradient_right(changes):
    net = module(**changes)
    times = some_times()
    assert (net(times) != net.silent).any()

    def run(t, *arrays):
        from evsim.learning.torch import _Spiking

        return _Spiking.apply(net, t, *arrays)

    assert torch.autograd.gradcheck(run, (times, *net.arrays), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_a_layer_behind_and_before_it_learns():
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.spiking, self.behind = torch.nn.Linear(2, 4), module(), torch.nn.Linear(3, 1)
            self.double()

        def forward(self, x):
            return self.behind(self.spiking(20.0 * torch.sigmoid(self.before(x))) / 20.0)

    net = Model()
    x = torch.rand(32, 2, dtype=torch.float64)
    y = x.sum(dim=1, keepdim=True)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-2)
    losses = []
    for _ in range(80):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_an_input_without_a_spike_is_inf_and_nan_is_refused():
    net = module()
    times = some_times(1).detach()
    times[0, 0] = torch.inf
    assert torch.isfinite(net(times)).all()
    times[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        net(times)
    with pytest.raises(ValueError, match=r"shape \(samples, 4\)"):
        net(times[0])


def test_float32_comes_back_as_float32():
    net = module()
    times = some_times().detach().float().requires_grad_()
    net(times).sum().backward()
    assert times.grad.dtype == torch.float32 and net.arrays[0].grad.dtype == torch.float64


def test_thresholds_and_time_constants_travel_with_the_state():
    def of(v_th, tau_m=20.0, **options):
        model = Sequential(Dense(4, 6, LIF(tau_m=tau_m, tau_syn=5.0, v_th=v_th), **options), Dense(6, 3, NEURON))
        model.init(seed=3, scale=[0.6, 0.4], mean=[3.5, 2.5])
        return SpikingModule(model, t_stop=60.0)

    saved, other = of(1.7, 25.0), of(1.0)
    array = of(np.linspace(1.0, 2.0, 6))
    times = some_times()
    assert not torch.equal(saved(times), other(times))
    for source in (saved, array):
        buffer = io.BytesIO()
        torch.save(source.state_dict(), buffer)
        buffer.seek(0)
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(source(times), other(times))
        assert np.array_equal(other.model.layers[0].neuron.v_th, source.model.layers[0].neuron.v_th)
    with pytest.raises(ValueError, match="other delays"):
        of(1.0, delay=2.0).load_state_dict(saved.state_dict())


def test_a_compiled_module_gives_the_same_numbers():
    net, times = module(), some_times().detach()
    assert torch.equal(torch.compile(net, backend="eager")(times), net(times))


def test_a_module_wants_a_duration():
    for t_stop in (0.0, float("nan")):
        with pytest.raises(ValueError, match="t_stop must be"):
            SpikingModule(module().model, t_stop=t_stop)
