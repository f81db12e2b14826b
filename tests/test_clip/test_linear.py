"""Linear layers against ``F.linear``."""

import pytest
import torch
import torch.nn.functional as F

from ovd.clip.linear import linear, tracks_gradients


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16, torch.float64]
)
@pytest.mark.parametrize('shape', [(5, 24), (3, 7, 24), (0, 24), (2, 0, 24)])
@pytest.mark.parametrize('has_bias', [True, False])
@pytest.mark.parametrize('silu', [True, False])
def test_same_as_the_hosts(dtype, shape, has_bias, silu):
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(40, 24)
    bias = torch.randn(40) if has_bias else None
    exact = F.linear(x, weight, bias)
    exact = F.silu(exact) if silu else exact
    found = linear(
        x.to(dtype),
        weight.to(dtype),
        None if bias is None else bias.to(dtype),
        silu,
    )
    assert found.dtype == dtype and found.shape == exact.shape
    tolerance = {torch.bfloat16: 0.15, torch.float16: 0.02}.get(dtype, 1e-5)
    torch.testing.assert_close(found.float(), exact, rtol=0, atol=tolerance)


def test_views_of_inputs_and_weights():
    x, weight = torch.randn(4, 6, 24), torch.randn(72, 24)
    bias = torch.randn(72)
    for part in (x[:, :1], x.transpose(0, 1), x[1:, ::2]):
        torch.testing.assert_close(
            linear(part, weight[24:48], bias[24:48]),
            F.linear(part, weight[24:48], bias[24:48]),
        )


@pytest.mark.parametrize('silu', [True, False])
def test_gradients_are_those_of_finite_differences(silu):
    x, weight = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 4), (5, 4))
    )
    assert torch.autograd.gradcheck(
        lambda x, weight: linear(x, weight, silu=silu), (x, weight)
    )


@pytest.mark.parametrize('of', ['x', 'weight'])
def test_gradients_flow(of):
    leaves = dict(x=torch.randn(3, 4), weight=torch.randn(5, 4))
    leaves[of].requires_grad_()
    assert tracks_gradients(*leaves.values())
    linear(**leaves).sum().backward()
    expected = dict(
        x=leaves['weight'].detach().sum(0).expand(3, 4),
        weight=leaves['x'].detach().sum(0).expand(5, 4),
    )
    torch.testing.assert_close(leaves[of].grad, expected[of])
    with torch.no_grad():
        assert not tracks_gradients(*leaves.values())


def test_without_onednn():
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(linear(x, weight), F.linear(x, weight))
