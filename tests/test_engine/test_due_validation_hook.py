"""A run that is ended while it validates goes on as if it had not been."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
import torch
from mmdet.registry import HOOKS, METRICS, MODELS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training

sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))
import resumable_job as job  # noqa: E402

SETTINGS = dict(
    train_cfg=dict(
        _delete_=True, type='IterBasedTrainLoop', max_iters=40, val_interval=10
    ),
    train_dataloader=dict(sampler=dict(type='InfiniteSampler')),
    default_hooks=dict(checkpoint=dict(interval=15)),
)
BY_EPOCH = dict(
    train_cfg=dict(val_interval=1),
    default_hooks=dict(checkpoint=dict(interval=3, by_epoch=True)),
)
LOOPS = dict(iterations=SETTINGS, epochs=BY_EPOCH)


@MODELS.register_module(name='_JudgedModel')
class JudgedModel(job.NoisyModel):
    def forward(self, inputs, index, mode='tensor'):
        if mode == 'loss':
            return super().forward(inputs, index, mode)
        return [self.layers(x).item() for x in inputs]


@METRICS.register_module(name='_MeanMetric')
class MeanMetric(BaseMetric):
    def process(self, data_batch: Any, data_samples: List[float]) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> Dict[str, float]:
        return dict(ap=-abs(sum(results) / len(results)))


@HOOKS.register_module(name='_EndHook')
class EndHook(Hook):
    """Ends validation in its second batch; writes down what it has found."""

    def __init__(self, at: int = -1, how: str = 'signal') -> None:
        self.at, self.how = at, how

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if (runner.iter, batch_idx, self.how) == (self.at, 1, 'kill'):
            raise KeyboardInterrupt
        if (runner.iter, self.how) == (self.at, 'signal'):
            assert batch_idx < 2, 'it went on'
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    def after_val(self, runner):
        if (runner.iter, self.how) == (self.at, 'kill after it'):
            raise KeyboardInterrupt

    def after_val_epoch(self, runner, metrics=None):
        with Path(runner.work_dir, 'metrics.txt').open('a') as file:
            print(runner.iter, metrics['ap'], file=file)


def make_config(
    work_dir: Path, loop: str, at: int = -1, how: str = 'signal'
) -> Config:
    cfg = job.make_config(str(work_dir))
    cfg.merge_from_dict(Config(LOOPS[loop])._cfg_dict)
    cfg.merge_from_dict(
        dict(
            model=dict(type='_JudgedModel'),
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='_MeanMetric'),
            val_dataloader=dict(
                batch_size=10,
                num_workers=0,
                dataset=dict(type='_NoisyPoints'),
                sampler=dict(type='DefaultSampler', shuffle=False),
            ),
            default_hooks=dict(
                checkpoint=dict(
                    save_best='ap', rule='greater', max_keep_ckpts=1
                )
            ),
            custom_hooks=[
                dict(type='EMAHook', momentum=0.1),
                dict(type='_EndHook', at=at, how=how),
            ],
            log_level='INFO',
        )
    )
    cfg.param_scheduler.append(
        dict(
            type='ReduceOnPlateauLR',
            monitor='ap',
            rule='greater',
            patience=0,
            factor=0.5,
        )
    )
    return cfg


def run(
    work_dir: Path, loop: str, at: int = -1, how: str = 'signal'
) -> Optional[int]:
    """Return the exit code, if it is ended."""
    cfg = make_config(work_dir, loop, at, how)
    prepare_training(cfg, 'auto')
    try:
        build_runner(cfg).train()
    except KeyboardInterrupt:
        return -9
    except SystemExit as end:
        return end.code
    return None


@pytest.fixture(scope='module', params=[*LOOPS])
def whole(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('whole') / request.param
    assert run(folder, request.param) is None
    return folder


def content(folder: Path) -> dict:
    path = Path((folder / 'last_checkpoint').read_text())
    found = torch.load(path, weights_only=True)
    hub = found['message_hub']
    return dict(
        step=found['meta']['iter'],
        weights=found['state_dict'],
        averages=found['ema_state_dict'],
        optimizer=found['optimizer'],
        schedulers=found['param_schedulers'],
        losses=hub['log_scalars']['train/loss'],
        best={
            key: Path(str(value)).name
            for key, value in hub['runtime_info'].items()
            if 'best' in key
        },
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return (
        torch.equal(one, other)
        if isinstance(one, torch.Tensor)
        else one == other
    )


def metrics(folder: Path) -> List[str]:
    return (folder / 'metrics.txt').read_text().splitlines()


@pytest.mark.parametrize(
    ('at', 'how'),
    [(20, 'signal'), (30, 'signal'), (30, 'kill'), (40, 'signal')],
)
def test_ended_in_a_validation(
    whole: Path, tmp_path: Path, at: int, how: str, capfd
) -> None:
    folder, loop = tmp_path / whole.name, whole.name
    assert run(folder, loop, at, how) == (0 if how == 'signal' else -9)
    if how == 'signal':
        assert (
            f'ended by a signal after iteration {at}, saved in'
            in capfd.readouterr().out
        )
    # Without what was found before the end
    assert metrics(folder) == metrics(whole)[: at // 10 - 1]
    assert content(folder)['step'] == at
    if at == 40:  # also in the one that is made up for
        assert run(folder, loop, at, 'kill') == -9
        assert run(folder, loop, at, 'signal') == 0
    assert run(folder, loop) is None
    assert metrics(folder) == metrics(whole)
    found, expected = content(folder), content(whole)
    for key, value in expected.items():
        assert same(found[key], value), key
    assert {p.name for p in folder.glob('*.pth')} == {
        p.name for p in whole.glob('*.pth')
    }


def test_a_run_that_is_over_validates_no_more(whole: Path) -> None:
    before = metrics(whole)
    assert len(before) == 4
    assert run(whole, whole.name) is None
    assert metrics(whole) == before


def test_what_was_validated_is_not_again(whole: Path, tmp_path: Path) -> None:
    """The last checkpoint is saved anew behind the best one."""
    folder, loop = tmp_path / whole.name, whole.name
    at, name = dict(
        iterations=(20, 'best_ap_iter_20.pth'),
        epochs=(30, 'best_ap_epoch_3.pth'),
    )[loop]
    assert run(folder, loop, at, 'kill after it') == -9
    assert content(folder)['best']['best_ckpt'] == name
    assert run(folder, loop) is None
    assert metrics(folder) == metrics(whole)
    assert same(content(folder), content(whole))


def test_what_another_run_has_validated_counts_for_nothing(
    whole: Path, tmp_path: Path
) -> None:
    """A run that starts anew in the folder of one that was over."""
    folder = tmp_path / whole.name
    folder.mkdir()
    (folder / 'last_validation').write_text('40\n')
    assert run(folder, whole.name, 40, 'kill') == -9
    assert run(folder, whole.name) is None
    assert metrics(folder) == metrics(whole)


def test_a_validation_without_training(tmp_path: Path) -> None:
    """It notes nothing of the training that the config has, too."""
    cfg = make_config(tmp_path, 'epochs')
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint.save_best = None  # the host can't then
    runner = build_runner(cfg)
    assert 'ap' in runner.val()
    assert not (tmp_path / 'last_validation').exists()
