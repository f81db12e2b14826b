"""The log line says images/s, RoIs/s and how long a run waits for data."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, List, Optional

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import Hook, IterTimerHook, iter_timer_hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from ovd.engine.hooks import ThroughputHook, throughput_hook

ROOT = Path(__file__).parents[2]
BOX_HEAD = dict(type='BBoxHead', in_channels=1, roi_feat_size=1, num_classes=1)


@MODELS.register_module(name='_RoIModel')
class RoIModel(BaseModel):
    """Classifies as many RoIs as an image's value says."""

    def __init__(self, roi_head: Optional[dict] = None) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        if roi_head is not None:
            self.roi_head = MODELS.build(roi_head)

    def forward(self, inputs: List[torch.Tensor], mode: str = 'tensor'):
        inputs = torch.stack(inputs)
        loss = self.linear(inputs).square().mean()
        if hasattr(self, 'roi_head'):
            heads = self.roi_head.bbox_head
            for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
                feats = torch.ones(int(inputs.sum()), 1, 1, 1)
                loss = loss + head(feats)[0].square().mean()
        return dict(loss=loss)


def roi_head(stages: int = 1) -> dict:
    parts = dict(
        bbox_head=BOX_HEAD,
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            featmap_strides=[1],
            out_channels=1,
            roi_layer=dict(type='RoIAlign', output_size=1),
        ),
    )
    if stages == 1:
        return dict(type='StandardRoIHead', **parts)
    return dict(
        type='CascadeRoIHead',
        num_stages=stages,
        stage_loss_weights=[1] * stages,
        **parts,
    )


def make_runner(
    work_dir: Path,
    max_iters: int = 2,
    resume: bool = False,
    log_level: str = 'ERROR',
    **model: Any,
) -> Runner:
    """A run of the package's defaults on images [0], [1], [2] and [3]."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(
        dict(
            model=dict(type='_RoIModel', **model),
            work_dir=str(work_dir),
            resume=resume,
            log_level=log_level,
            experiment_name=f'{work_dir.name}{max_iters}',
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
            log_processor=dict(by_epoch=False),
            default_hooks=dict(
                logger=dict(interval=1),
                checkpoint=dict(interval=2, by_epoch=False),
            ),
        )
    )
    cfg.visualizer.name = cfg.experiment_name
    cfg.train_dataloader = dict(
        batch_size=2,
        dataset=[dict(inputs=torch.ones(1) * i) for i in range(4)],
        sampler=dict(type='InfiniteSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    return Runner.from_cfg(cfg)


class ClassifyBetweenIterations(Hook):
    """What a validation does to the counts."""

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any):
        runner.model([torch.ones(1)])


def logged(work_dir: Path) -> List[dict]:
    """Return the lines of the JSON logs, those of the last run last."""
    return [
        json.loads(line)
        for path in sorted(work_dir.rglob('scalars.json'))
        for line in path.read_text().splitlines()
    ]


@pytest.mark.parametrize('stages', [1, 3])
def test_numbers_of_a_detector(
    tmp_path: Path, stages: int, monkeypatch
) -> None:
    """Two batches of two images, with 0 + 1 and with 2 + 3 RoIs."""
    monkeypatch.setattr(Runner, 'world_size', 4)
    runner = make_runner(tmp_path, roi_head=roi_head(stages))
    runner.register_hook(ClassifyBetweenIterations(), 'LOWEST')
    runner.train()
    first, second = logged(tmp_path)
    for line, num_images, num_rois in ((first, 2, 1), (second, 4, 6)):
        # The line has the mean time of the iterations so far.
        seconds = line['time'] * num_images / 2
        assert line['images_per_s'] == pytest.approx(4 * num_images / seconds)
        assert line['rois_per_s'] == pytest.approx(
            4 * stages * num_rois / seconds
        )
        assert line['data_wait_share'] == pytest.approx(
            line['data_time'] / line['time']
        )
    assert not any(m._forward_pre_hooks for m in runner.model.modules())


def test_a_model_without_roi_head(tmp_path: Path) -> None:
    make_runner(tmp_path).train()
    for line in logged(tmp_path):
        assert line['images_per_s'] > 0 and 'rois_per_s' not in line
        assert 0 <= line['data_wait_share'] <= 1


def test_batches_without_images() -> None:
    """Prompts are learned from embeddings of regions."""
    runner = SimpleNamespace(
        message_hub=MessageHub('no images'),
        world_size=1,
        model=nn.Module(),
        log_processor=SimpleNamespace(window_size=2),
    )
    hook = ThroughputHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, dict())  # without timer: nothing
    for time, data_time in ((9.0, 9.0), (3.0, 0.0), (1.0, 2.0)):
        runner.message_hub.update_scalars(
            {'train/time': time, 'train/data_time': data_time}
        )
        hook.after_train_iter(runner, 0, dict(embeddings=torch.ones(3, 2)))
    logged = {
        name: buffer.current()
        for name, buffer in runner.message_hub.log_scalars.items()
    }
    # Of the last two iterations
    assert logged == {
        'train/time': 1,
        'train/data_time': 2,
        'train/data_wait_share': 0.5,
    }


def test_a_resumed_run(tmp_path: Path) -> None:
    """Checkpoints keep nothing of it; the log goes on."""
    make_runner(tmp_path, roi_head=roi_head()).train()
    checkpoint = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    history = checkpoint['message_hub']['log_scalars']
    assert len(history['train/time']['log_history']) == 2
    assert not {*history} & {
        'train/images_per_s',
        'train/rois_per_s',
        'train/data_wait_share',
    }
    assert all(checkpoint['message_hub']['resumed_keys'].values())
    make_runner(tmp_path, 4, resume=True, roi_head=roi_head()).train()
    lines = logged(tmp_path)
    assert [line['step'] for line in lines] == [1, 2, 3, 4]
    assert all(line['images_per_s'] > 0 for line in lines)


def test_an_evaluation_is_no_waiting_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither are its metrics, and what comes of them."""
    clock = SimpleNamespace(now=0.0)
    host = SimpleNamespace(time=lambda: clock.now)
    monkeypatch.setattr(iter_timer_hook, 'time', host)
    monkeypatch.setattr(throughput_hook, 'time', host)
    runner = make_runner(tmp_path)
    runner.register_hook(EvaluateBetweenIterations(clock), 'LOWEST')
    runner.train()
    assert [
        (line['time'], line['data_time'], line['data_wait_share'])
        for line in logged(tmp_path)
    ] == [(2.0, 0.0, 0.0)] * 2


class EvaluateBetweenIterations(Hook):
    """Two seconds of training, and an hour of metrics."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any):
        self.clock.now += 2

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any):
        timers = [
            hook
            for hook in runner.hooks
            if isinstance(hook, (IterTimerHook, ThroughputHook))
        ]
        for hook in timers:
            hook.before_val_epoch(runner)
        self.clock.now += 3600
        for hook in timers:
            hook.after_val(runner)


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> List[tuple]:
    """What a TensorBoard would be given."""
    written: List[tuple] = []
    module = ModuleType('torch.utils.tensorboard')
    module.SummaryWriter = lambda folder: SimpleNamespace(
        add_scalar=lambda *arguments: written.append(arguments),
        close=lambda: written.append(('closed', folder)),
    )
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', module)
    return written


def test_tensorboard_has_what_is_logged(
    tmp_path: Path, tensorboard: List[tuple]
) -> None:
    make_runner(tmp_path).train()
    name, folder = tensorboard.pop()
    assert name == 'closed' and Path(folder).parents[1] == tmp_path
    assert tensorboard == [
        (name, value, line['step'])
        for line in logged(tmp_path)
        for name, value in line.items()
        if name != 'step'
    ]


def test_no_tensorboard(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    runner = make_runner(tmp_path, log_level='INFO')
    runner.train()
    (log,) = tmp_path.rglob('*.log')
    text = log.read_text()
    assert text.count('pip install tensorboard') == 1
    assert len(logged(tmp_path)) == 2
    # And what a reader of the log sees
    shown = r'eta: .*  time: .*  images_per_s: [\d.]+  data_wait_share: 0'
    assert len(re.findall(shown, text)) == 2
