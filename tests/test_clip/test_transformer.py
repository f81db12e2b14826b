"""The hidden layers of frozen blocks, and what they keep for gradients."""

import copy

import pytest
import torch
from clip.model import QuickGELU
from torch import Tensor, nn

from ovd.clip.transformer import QUICK_GELU_SLOPE, _mlp, _mlp_times_slope


@pytest.fixture
def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential()
    layers.add_module('c_fc', nn.Linear(6, 24))
    layers.add_module('gelu', QuickGELU())
    layers.add_module('c_proj', nn.Linear(24, 6))
    return layers.double().requires_grad_(False)


def random_input(requires_grad: bool = True) -> Tensor:
    h = torch.randn(2, 5, 6, dtype=torch.float64)
    return h.requires_grad_(requires_grad)


def test_gradients_are_those_of_finite_differences(mlp):
    assert torch.autograd.gradcheck(lambda h: _mlp(mlp, h), random_input())


def test_same_as_the_module(mlp):
    h, other = random_input(), torch.randn(2, 5, 6, dtype=torch.float64)
    results = []
    for run in (mlp, lambda x: _mlp(mlp, x)):
        h.grad = None
        y = run(h)
        (y * other).sum().backward()
        results.append((y.detach(), h.grad))
    for one, two in zip(*results):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    scaled = _mlp_times_slope(mlp, h.detach() * QUICK_GELU_SLOPE)
    torch.testing.assert_close(
        scaled / QUICK_GELU_SLOPE, results[0][0], rtol=0, atol=1e-12
    )


def kept(run, h: Tensor) -> int:
    """Return how many numbers are kept for the gradient, weights aside."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda x: x
    ):
        run(h)
    return sum(
        tensor.numel()
        for tensor in saved
        if tensor.ndim == 3 and tensor.shape[:2] == h.shape[:2]
    )


def test_one_tensor_of_the_hidden_layer_is_kept(mlp):
    h = random_input()
    assert kept(lambda x: _mlp(mlp, x), h) == 2 * 5 * 24
    assert kept(mlp, h) > 2 * 5 * 24


@pytest.mark.parametrize('change', ['weights are trained', 'other gelu'])
def test_others_are_left_to_the_module(mlp, change):
    other = copy.deepcopy(mlp)
    if change == 'other gelu':
        other.gelu = nn.GELU()
    else:
        other.requires_grad_()
    h = random_input()
    y = _mlp(other, h)
    torch.testing.assert_close(y, other(h), rtol=0, atol=0)
    y.sum().backward()
    assert h.grad is not None
    trained = [p for p in other.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)


def test_autocast_is_left_to_the_module(mlp):
    mlp.float()
    h = torch.randn(2, 5, 6, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        y = _mlp(mlp, h)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert h.grad.dtype == torch.float32
