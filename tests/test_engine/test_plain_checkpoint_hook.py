"""Checkpoints load with weights_only=True, and resume."""

from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


@MODELS.register_module(name='_TinyModel')
class TinyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.linear(torch.stack(inputs)).square().mean())


def make_runner(work_dir: Path, max_iters: int, resume: bool) -> Runner:
    root = Path(__file__).parents[2]
    cfg = Config.fromfile(root / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(
        dict(
            model=dict(type='_TinyModel'),
            work_dir=str(work_dir),
            resume=resume,
            log_level='ERROR',
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
            param_scheduler=[dict(type='LinearLR', by_epoch=False, end=5)],
            default_hooks=dict(checkpoint=dict(interval=2, by_epoch=False)),
        )
    )
    cfg.train_dataloader = dict(
        batch_size=2,
        dataset=[dict(inputs=torch.ones(2) * i) for i in range(4)],
        sampler=dict(type='InfiniteSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    return Runner.from_cfg(cfg)


def test_checkpoint_holds_plain_content_and_resumes(tmp_path: Path) -> None:
    make_runner(tmp_path, 2, resume=False).train()
    path = tmp_path / 'iter_2.pth'
    checkpoint = torch.load(path, weights_only=True)  # admits plain content
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert len(history['log_history']) == 2
    assert np.isfinite(history['log_history']).all()
    runner = make_runner(tmp_path, 4, resume=True)
    runner.train()
    assert runner.iter == 4
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 4 and losses[0] == history['log_history'][0]
    assert (tmp_path / 'iter_4.pth').is_file()
    assert not list(tmp_path.glob('*.tmp'))
