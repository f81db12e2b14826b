"""Types that are not registered and arguments that no one takes.

That no config of ours is complained about is tested in test_configs.py.
"""

from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ovd.engine.build_errors import explained_builds
from ovd.engine.config_check import check_types
from ovd.engine.overrides import apply_overrides

BASE = """
custom_imports = dict(imports=['ovd'])
default_scope = 'mmdet'
data = dict(
    dataset=dict(
        type='ClassBalancedDataset',
        oversample_thr=1e-3,
        dataset=dict(
            type='CocoDataset',
            ann_file='train.json',
            pipeline=[
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='ProposalBroadcaster', transforms=[
                    dict(type='RandomFlip', prob=0.5)])])),
    batch_size=1, num_batch_per_epoch=3, pin_memory=True,
    collate_fn=dict(type='pseudo_collate'),
    worker_init_fn=dict(type='default_worker_init_fn'),
    sampler=dict(type='DefaultSampler', shuffle=True))
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic',
    paramwise_cfg=dict(), optimizer=dict(type='SGD', lr=0.1))
param_scheduler = [dict(type='LinearLR', convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_evaluator = dict(type='CocoMetric', metric='bbox')
default_hooks = dict(
    timer=None, logger=dict(type='LoggerHook', priority='LOW'),
    checkpoint=dict(type='CheckpointHook', save_optimizer=False))
visualizer = dict(type='DetLocalVisualizer', name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0, diff_rank_seed=True, deterministic=False)
env_cfg = dict(
    cudnn_benchmark=False, dist_cfg=dict(backend='nccl'), resource_limit=9,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
model = dict(
    type='FasterRCNN',
    backbone=dict(type='ResNet', depth=18, norm_cfg=dict(type='BN',
        requires_grad=True)))
"""
TOP = """
_base_ = 'base.py'
train_dataloader = _base_.data
custom_hooks = [
    dict(type='EmptyCacheHook'),
    dict(type='EMAHook', momentum=0.1, begin_epoch=1)]
"""
DATASET = 'train_dataloader.dataset.dataset'


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    Path('base.py').write_text(BASE)
    Path('top.py').write_text(TOP)
    return Config.fromfile('top.py')


def test_a_sound_config(cfg: Config) -> None:
    check_types(cfg)
    cfg.custom_hooks[1].update(type='EMAHook', ema_type='ExpMomentumEMA')
    cfg.custom_hooks[1].gamma = 10
    check_types(cfg)


@pytest.mark.parametrize(
    'option, message',
    [
        (
            f'+{DATASET}.annfile=a',
            'CocoDataset takes no "annfile"; did you mean "ann_file"?',
        ),
        (f'+{DATASET}.pipeline.0.with_boxes=1', '"with_bbox"'),
        (
            f'+{DATASET}.pipeline.1.transforms.0.flip_ratio=1',
            'it takes .*prob',
        ),
        (
            f'{DATASET}.pipeline.1.transforms.0.type=Flip',
            'no transform is called "Flip"',
        ),
        (
            'train_dataloader.sampler.type=DefaultSample',
            'no data sampler is .*"DefaultSampler"',
        ),
        ('+train_dataloader.sampler.shufle=1', '"shuffle"'),
        (
            '+optim_wrapper.loss_scales=1',
            'AmpOptimWrapper takes .*"loss_scale"',
        ),
        ('+optim_wrapper.optimizer.momentun=1', 'SGD .*mean "momentum"'),
        ('optim_wrapper.optimizer.type=SDG', 'no optimizer .*"SGD"'),
        ('+param_scheduler.0.begins=1', '"begin"'),
        ('+train_cfg.max_iters=1', 'EpochBasedTrainLoop takes no "max_iters"'),
        ('+val_evaluator.metrics=bbox', '"metric"'),
        ('+default_hooks.logger.intervall=1', '"interval"'),
        # what the host would notice when it first saves
        ('+default_hooks.checkpoint.max_keep_ckpt=1', '"max_keep_ckpts"'),
        ('+custom_hooks.0.after_iters=1', '"after_iter"'),
        ('+visualizer.vis_backends.0.savedir=a', '"save_dir"'),
        ('+model.roi_heads=1', 'FasterRCNN takes no .*"roi_head"'),
        ('model.type=FasterRCN', 'no model .*mean "FasterRCNN"'),
        # what the average behind the hook takes
        ('+custom_hooks.1.momentu=1', 'EMAHook takes .*"momentum"'),
        ('+custom_hooks.1.ema_type=ExpMomentumEM', '"ExpMomentumEMA"'),
        # what has no type
        ('+train_dataloader.pin_memry=True', 'mean "pin_memory"'),
        ('+randomness.sed=3', 'mean "seed"'),
        ('+env_cfg.cudnn_benchmar=True', 'mean "cudnn_benchmark"'),
        ('+env_cfg.mp_cfg.opencv_threads=1', '"opencv_num_threads"'),
        ('+env_cfg.xyz=1', 'it takes cudnn_benchmark, dist_cfg'),
    ],
)
def test_key_and_nearest_names(cfg: Config, option: str, message: str) -> None:
    apply_overrides(cfg, [option])
    key = option.removeprefix('+').split('=')[0]
    text = f'^--cfg-options: {key}: .*{message}'
    with pytest.raises(ValueError, match=text):
        check_types(cfg)


def test_file_of_each_problem(cfg: Config) -> None:
    Path('base.py').write_text(
        BASE.replace('shuffle=True', 'shuffle=True, seeds=1').replace(
            "type='SGD'", "type='SGD', nesterow=True"
        )
    )
    Path('top.py').write_text(
        TOP + "val_evaluator = dict(prefixes='a', classwise=True)"
    )
    cfg = Config.fromfile('top.py')
    apply_overrides(cfg, ['+train_cfg.val_intervall=1'])
    with pytest.raises(ValueError) as error:
        check_types(cfg)
    lines = str(error.value).split('\nerror: ')
    assert [line.split(': ')[:2] for line in lines] == [
        ['top.py', 'train_dataloader.sampler.seeds'],
        ['top.py', 'val_evaluator.prefixes'],
        ['--cfg-options', 'train_cfg.val_intervall'],
        ['base.py', 'optim_wrapper.optimizer.nesterow'],
    ]


@pytest.mark.parametrize(
    'option, message',
    [
        ('+model.dept=1', 'ResNet takes no "dept"; did you mean "depth"'),
        ('model.type=ResNett', 'no model is .*mean "ResNet"'),
        # layers, which mmcv builds
        (
            'model.norm_cfg.type=BNN',
            'no model is called "BNN"; did you mean "BN"',
        ),
        ('+model.norm_cfg.momentun=1', '.*unexpected keyword argument'),
    ],
)
def test_what_could_not_be_built(
    cfg: Config, option: str, message: str
) -> None:
    """Parts of a model, such as its backbone."""
    cfg.model = cfg.model.backbone
    apply_overrides(cfg, [option])
    key = option.removeprefix('+').split('=')[0]
    with pytest.raises(ValueError, match=f'^--cfg-options: {key}: {message}'):
        with (
            DefaultScope.overwrite_default_scope('mmdet'),
            explained_builds(cfg),
        ):
            MODELS.build(cfg.model)


def test_bugs_are_not_explained(cfg: Config) -> None:
    with (
        pytest.raises(TypeError, match='unexpected keyword'),
        explained_builds(cfg),
    ):
        check_types(cfg, type='FasterRCNN')
