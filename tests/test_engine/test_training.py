"""Options of training: mixed precision, the learning rate."""

import pytest
from mmengine.config import Config

from ovd.engine.training import set_amp, set_auto_scale_lr


def test_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', clip_grad=1)))
    set_amp(cfg, False)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    monkeypatch.setattr('ovd.engine.training.get_device', lambda: 'cuda')
    set_amp(cfg, True)
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper', loss_scale='dynamic', clip_grad=1
    )


def test_mixed_precision_needs_a_gpu_and_an_optimizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('ovd.engine.training.get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp is for GPUs'):
        set_amp(Config(dict(optim_wrapper=dict(type='OptimWrapper'))), True)
    with pytest.raises(ValueError, match='of this config is None'):
        set_amp(Config(dict(train_cfg=dict(type='ExtractionLoop'))), True)


def test_learning_rate_is_scaled_only_from_a_known_batch() -> None:
    cfg = Config(dict(auto_scale_lr=dict(enable=False, base_batch_size=16)))
    set_auto_scale_lr(cfg, False)
    assert cfg.auto_scale_lr.enable is False
    set_auto_scale_lr(cfg, True)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(ValueError, match=r'\+auto_scale_lr.base_batch_size='):
        set_auto_scale_lr(Config(dict()), True)
