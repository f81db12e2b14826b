"""--dry-run: two batches of each part, and nothing is left."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import pytest
import torch
from mmdet.registry import HOOKS, METRICS, MODELS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from ovd.engine.dry_run import dry_run
from ovd.engine.hooks.dry_run_hook import DryRunHook

calls: List[Any] = []  # of the model and the metric, in order


@MODELS.register_module(name='_CountedModel')
class CountedModel(BaseModel):
    """Notes which batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, inputs: List[torch.Tensor], mode: str = 'tensor'):
        calls.append((mode, [int(value) for value in inputs]))
        loss = self.linear(torch.stack(inputs)).square().mean()
        return dict(loss=loss) if mode == 'loss' else [{} for _ in inputs]


@METRICS.register_module(name='_CountedMetric')
class CountedMetric(BaseMetric):
    """Writes how many images it was told of."""

    def __init__(self, out_file: str) -> None:
        super().__init__()
        self.out_file = out_file

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += data_samples

    def evaluate(self, size: int) -> dict:
        Path(self.out_file).write_text(str(size))
        calls.append(('metric', size))
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict:
        return dict(count=len(results))


@HOOKS.register_module(name='_Exporter')
class Exporter(Hook):
    """Writes when training is over, as ExportCLIPHook does."""

    def __init__(self, out_file: str) -> None:
        self.out_file = out_file

    def after_train(self, runner: Any) -> None:
        Path(self.out_file).write_text('')


def loader(size: int, batch_size: int, **sampler: Any) -> dict:
    return dict(
        batch_size=batch_size,
        dataset=[dict(inputs=torch.ones(1) * i) for i in range(size)],
        sampler=dict(type='DefaultSampler', shuffle=False, **sampler),
        collate_fn=dict(type='pseudo_collate'),
    )


def job(folder: Path, **train_cfg: Any) -> Config:
    """A job that writes into ``folder`` at every opportunity."""
    calls.clear()
    return Config(
        dict(
            default_scope='mmdet',
            launcher='none',
            log_level='ERROR',
            work_dir=str(folder / 'work'),
            experiment_name=folder.name,
            model=dict(type='_CountedModel'),
            train_cfg=train_cfg,
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
            param_scheduler=dict(type='MultiStepLR', milestones=[3]),
            train_dataloader=loader(20, 2),
            val_dataloader=loader(15, 3),
            test_dataloader=loader(3, 2),
            val_evaluator=dict(
                type='_CountedMetric', out_file=str(folder / 'val.txt')
            ),
            test_evaluator=dict(
                type='_CountedMetric', out_file=str(folder / 'test.txt')
            ),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1)
            ),
            custom_hooks=[
                dict(type='_Exporter', out_file=str(folder / 'model.pt'))
            ],
        )
    )


RUN = [
    ('loss', [0, 1]),
    ('loss', [2, 3]),
    ('predict', [0, 1, 2]),
    ('predict', [3, 4, 5]),
    ('metric', 6),
    ('predict', [0, 1]),
    ('predict', [2]),
    ('metric', 3),
]


@pytest.mark.parametrize(
    ('train_cfg', 'whole'),
    [
        (
            dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=5),
            '120 iterations and 3 validations of 5 batches',
        ),
        (
            dict(
                type='IterBasedTrainLoop',
                max_iters=5000,
                val_interval=1000,
                val_begin=2000,
            ),
            '5,000 iterations and 4 validations of 5 batches',
        ),
    ],
)
def test_two_batches_of_each_part(
    tmp_path: Path, train_cfg: dict, whole: str
) -> None:
    told = dry_run(job(tmp_path, **train_cfg))
    assert calls == RUN
    lines = told.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ['train', 'val', 'test']
    assert all(' GB of ' in line for line in lines[1:4])
    assert lines[4].startswith(f'the whole job: {whole}, about 0:0')
    assert list(tmp_path.iterdir()) == []


def test_without_validation_and_test(tmp_path: Path) -> None:
    cfg = job(tmp_path, type='IterBasedTrainLoop', max_iters=10)
    for part in ('val', 'test'):
        for name in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{part}_{name}'] = None
    told = dry_run(cfg)
    assert calls == RUN[:2]
    assert 'the whole job: 10 iterations, about' in told


def test_time_of_the_whole_job() -> None:
    """1,000 iterations of 2 s and 3 times 10 batches of 4 s."""
    hook = DryRunHook()
    hook.seconds = dict(train=2.0, val=4.0, test=9.0)
    hook.memory = dict.fromkeys(hook.seconds, '')
    hook.num_iters, hook.num_vals = 1000, 3
    told = hook.report(SimpleNamespace(val_dataloader=range(10), world_size=2))
    assert f'about {timedelta(seconds=2120)} with 2 processes' in told
