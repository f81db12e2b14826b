"""Resuming in the middle of an accumulation, and with a loss scale."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Iterator

import mmengine.optim.optimizer.amp_optimizer_wrapper as host
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from ovd.engine import accumulated_gradients
from ovd.engine.accumulated_gradients import mean_gradients
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training

sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))
import resumable_job as job  # noqa: E402

# 10 iterations are an epoch, and a checkpoint is saved each 5
ACCUMULATE = dict(
    optim_wrapper=dict(accumulative_counts=3, clip_grad=dict(max_norm=0.1))
)
SCALE = dict(
    optim_wrapper=dict(
        type='_CPUAmpOptimWrapper',
        dtype='bfloat16',
        loss_scale=dict(init_scale=2.0**40, growth_interval=7, device='cpu'),
    )
)


@OPTIM_WRAPPERS.register_module(name='_CPUAmpOptimWrapper')
class CPUAmpOptimWrapper(host.AmpOptimWrapper):
    """The host's, which asks for a GPU, with torch's scaler for the CPU."""

    def __init__(self, **kwargs) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(host, 'is_cuda_available', lambda: True)
            patch.setattr(host, 'GradScaler', torch.amp.GradScaler)
            super().__init__(**kwargs)


def train(folder: Path, options: dict, stop_at: int = -1) -> None:
    cfg = job.make_config(str(folder))
    cfg.merge_from_dict(Config(options)._cfg_dict)
    cfg.custom_hooks[0].stop_at = stop_at
    prepare_training(cfg, 'auto')
    try:
        build_runner(cfg).train()
    except KeyboardInterrupt:
        assert stop_at >= 0


def last(folder: Path) -> dict:
    return torch.load(
        (folder / 'last_checkpoint').read_text(), weights_only=True
    )


@pytest.mark.parametrize(
    'options',
    [
        pytest.param(ACCUMULATE, id='accumulation'),
        pytest.param(SCALE, id='scale'),
        pytest.param(
            dict(
                optim_wrapper=dict(
                    accumulative_counts=3, **SCALE['optim_wrapper']
                )
            ),
            id='both',
        ),
    ],
)
def test_resuming_equals_no_interruption(
    tmp_path: Path, options: dict
) -> None:
    train(tmp_path / 'whole', options)
    train(tmp_path / 'cut', options, stop_at=12)
    has_gradients = 'accumulative_counts' in options['optim_wrapper']
    assert ('gradients' in last(tmp_path / 'cut')) == has_gradients  # 10
    train(tmp_path / 'cut', options, stop_at=28)
    train(tmp_path / 'cut', options)
    whole, cut = last(tmp_path / 'whole'), last(tmp_path / 'cut')
    assert whole['meta']['iter'] == cut['meta']['iter'] == 40
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, cut['state_dict'][key]), key
    losses = [
        c['message_hub']['log_scalars']['train/loss']['log_history']
        for c in (whole, cut)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 40
    assert 'gradients' not in whole  # the last iteration is an update
    if options is not ACCUMULATE:
        scales = [c['optimizer']['loss_scaler'] for c in (whole, cut)]
        assert scales[0] == scales[1]
        assert scales[0]['scale'] != 2.0**40  # it was changed on the way


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process, with gradients of 3 of the second layer alone."""

    def all_reduce(value: torch.Tensor, op: str) -> None:
        if op == 'max':
            value.copy_(torch.maximum(value, torch.tensor([0.0, 1.0, 0.0])))
        else:
            other = 3.0 if value.shape == (2, 2) else 0.0
            value.copy_((value + other) / 2)

    monkeypatch.setattr(accumulated_gradients, 'all_reduce', all_reduce)


def test_the_mean_of_all_processes(two: None) -> None:
    """A gradient that this process lacks is zero, if another has it."""
    model = nn.ModuleList(
        [
            nn.Linear(1, 1, bias=False),
            nn.Linear(2, 2, bias=False),
            nn.Linear(3, 3, bias=False),
        ]
    )
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2
    )
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper)
    assert mean_gradients(runner) == {}  # nothing was begun
    wrapper.update_params(model[0](torch.ones(1, 1)).sum())
    found = mean_gradients(runner)
    assert {
        name: value.unique().tolist() for name, value in found.items()
    } == {'0.weight': [0.25], '1.weight': [1.5]}
    wrapper.update_params(model[0](torch.ones(1, 1)).sum())
    assert mean_gradients(runner) == {}  # it is over
