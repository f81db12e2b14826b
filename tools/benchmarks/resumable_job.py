"""A job of seconds that draws everything by lot, to be cut off anywhere.

    python resumable_job.py WORK_DIR [KEY=VALUE ...]

trains 40 iterations and resumes what is there. What each iteration trained on
is a line of WORK_DIR/seen_RANK.txt: its number, then the samples.
"""

import copy
import functools
import itertools
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS, HOOKS, MODELS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from ovd.engine.launch import build_runner, leave_process_group
from ovd.engine.overrides import apply_overrides
from ovd.engine.resuming import prepare_training

ROOT = Path(__file__).parents[2]


@DATASETS.register_module(name='_NoisyPoints')
class NoisyPoints(torch.utils.data.Dataset):
    """40 points; which noise each gets is drawn in three ways."""

    metainfo = dict(classes=('point',))

    def __init__(self, length: int = 40, broken: int = -1) -> None:
        self.length, self.broken = length, broken

    def __len__(self) -> int:
        return self.length

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=f'images/{index}.jpg')

    def __getitem__(self, index: int) -> dict:
        if index == self.broken:
            raise OSError('not a JPEG')
        noise = [random.random(), np.random.rand(), torch.rand(()).item()]
        return dict(inputs=torch.tensor([index / 40, *noise]), index=index)


@MODELS.register_module(name='_NoisyModel')
class NoisyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1)
        )

    def forward(self, inputs, index, mode='tensor'):
        noisy = torch.stack(inputs) + 0.1 * np.random.rand()
        return dict(loss=self.layers(noisy).square().mean())


@HOOKS.register_module(name='_SeenHook')
class SeenHook(Hook):
    """Write down what is trained on; have things happen on the last rank.

    Args:
        stop_at (int): Iteration before which an exception is raised.
        kill_at (int): ... before which the process is killed.
        tell_at (int): ... in which it is told to end.
        hang_at (int): ... before which it waits for ever.
        freeze_at (int): ... before which all its threads are stopped.
    """

    def __init__(
        self,
        stop_at: int = -1,
        kill_at: int = -1,
        tell_at: int = -1,
        hang_at: int = -1,
        freeze_at: int = -1,
    ) -> None:
        self.stop_at, self.hang_at = stop_at, hang_at
        self.signals = {
            kill_at: signal.SIGKILL,
            tell_at: signal.SIGTERM,
            freeze_at: signal.SIGSTOP,
        }

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        path = Path(runner.work_dir, f'seen_{runner.rank}.txt')
        is_last_rank = runner.rank == runner.world_size - 1
        if runner.iter == self.stop_at:
            raise KeyboardInterrupt
        if is_last_rank and runner.iter in self.signals:
            os.kill(os.getpid(), self.signals[runner.iter])
        if is_last_rank and runner.iter == self.hang_at:
            threading.Event().wait()
        with path.open('a') as file:
            print(runner.iter, *data_batch['index'], file=file)


@functools.cache
def _runtime() -> Config:
    return Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')


runs = itertools.count()


def make_config(work_dir: str) -> Config:
    """Return the config of the job: 40 iterations of 4 points each."""
    cfg = copy.deepcopy(_runtime())
    cfg.merge_from_dict(
        dict(
            model=dict(type='_NoisyModel'),
            # Those of one second would share their log history.
            experiment_name=f'run_{os.getpid()}_{next(runs)}',
            work_dir=str(work_dir),
            launcher='pytorch' if 'WORLD_SIZE' in os.environ else 'none',
            log_level='WARNING',
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                dataset=dict(type='_NoisyPoints'),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, end=30),
                dict(type='ExponentialLR', by_epoch=True, gamma=0.9),
            ],
            custom_hooks=[
                dict(
                    type='_SeenHook',
                    stop_at=-1,
                    kill_at=-1,
                    tell_at=-1,
                    hang_at=-1,
                    freeze_at=-1,
                )
            ],
            default_hooks=dict(checkpoint=dict(interval=5, by_epoch=False)),
        )
    )
    return cfg


if __name__ == '__main__':
    config = make_config(sys.argv[1])
    apply_overrides(config, sys.argv[2:])
    prepare_training(config, 'auto')
    build_runner(config).train()
    leave_process_group()
