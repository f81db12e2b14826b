"""Habits of mmdet 2.x on the command line."""

from pathlib import Path
from typing import Any, Dict

import pytest
from mmengine.config import Config

from ovd.engine.config_keys import entry, has_entry
from ovd.engine.config_origins import read_config
from ovd.engine.overrides import apply_overrides

CONFIGS = Path(__file__).parents[2] / 'configs' / 'feature_extractor'


def make_config() -> Config:
    """What the tables speak of, as configs of 3.x have it."""
    data = dict(
        type='CocoDataset',
        data_root='data/coco/',
        ann_file='train.json',
        data_prefix=dict(img='train2017/'),
        pipeline=[dict(type='Resize')],
    )
    return Config(
        dict(
            model=dict(
                type='FasterRCNN',
                backbone=dict(
                    init_cfg=dict(type='Pretrained', checkpoint='a.pth')
                ),
                train_cfg=dict(
                    rpn=dict(pos_weight=-1),
                    rcnn=dict(sampler=dict(num=512)),
                    rpn_proposal=dict(nms_pre=2000),
                ),
                test_cfg=dict(
                    rpn=dict(nms_pre=1000), rcnn=dict(score_thr=0.1)
                ),
            ),
            train_dataloader=dict(
                batch_size=2,
                num_workers=2,
                persistent_workers=True,
                dataset=data,
            ),
            val_dataloader=dict(dataset=data),
            test_dataloader=dict(batch_size=1, dataset=data),
            val_evaluator=dict(ann_file='data/coco/train.json', metric='bbox'),
            test_evaluator=dict(
                ann_file='data/coco/train.json', metric='bbox'
            ),
            train_cfg=dict(
                type='EpochBasedTrainLoop', max_epochs=12, val_interval=1
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
            param_scheduler=[dict(type='LinearLR'), dict(type='MultiStepLR')],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=50),
                checkpoint=dict(type='CheckpointHook', interval=1),
            ),
            env_cfg=dict(cudnn_benchmark=False, dist_cfg=dict(backend='nccl')),
            randomness=dict(seed=0),
            load_from=None,
            resume=False,
        )
    )


@pytest.mark.parametrize(
    'option, expected',
    [
        ('log_config.interval=4', {'default_hooks.logger.interval': 4}),
        ('data.samples_per_gpu=4', {'train_dataloader.batch_size': 4}),
        ('data.workers_per_gpu=4', {'train_dataloader.num_workers': 4}),
        # PyTorch refuses to keep no workers
        (
            'data.workers_per_gpu=0',
            {
                'train_dataloader.num_workers': 0,
                'train_dataloader.persistent_workers': False,
            },
        ),
        (
            'data.test_dataloader.batch_size=4',
            {'test_dataloader.batch_size': 4},
        ),
        ('total_epochs=4', {'train_cfg.max_epochs': 4}),
        ('runner.max_epochs=4', {'train_cfg.max_epochs': 4}),
        ('evaluation.interval=4', {'train_cfg.val_interval': 4}),
        ('evaluation.metric=segm', {'val_evaluator.metric': 'segm'}),
        (
            'evaluation.save_best=auto',
            {'default_hooks.checkpoint.save_best': 'auto'},
        ),
        (
            'checkpoint_config.interval=4',
            {'default_hooks.checkpoint.interval': 4},
        ),
        ('optimizer.lr=4', {'optim_wrapper.optimizer.lr': 4}),
        ('optimizer.type=AdamW', {'optim_wrapper.optimizer.type': 'AdamW'}),
        (
            'optimizer.paramwise_cfg.norm_decay_mult=0',
            {'optim_wrapper.paramwise_cfg.norm_decay_mult': 0},
        ),
        (
            'optimizer_config.grad_clip.max_norm=4',
            {'optim_wrapper.clip_grad.max_norm': 4},
        ),
        ('cudnn_benchmark=True', {'env_cfg.cudnn_benchmark': True}),
        ('dist_params.backend=gloo', {'env_cfg.dist_cfg.backend': 'gloo'}),
        ('seed=4', {'randomness.seed': 4}),
        ('load_from=a.pth', {'load_from': 'a.pth', 'resume': False}),
        ('resume_from=a.pth', {'load_from': 'a.pth', 'resume': True}),
        ('resume_from=None', {'load_from': None, 'resume': False}),
        (
            'model.pretrained=b.pth',
            {'model.backbone.init_cfg.checkpoint': 'b.pth'},
        ),
        ('model.pretrained=None', {'model.backbone.init_cfg': None}),
        ('test_cfg.rcnn.score_thr=0', {'model.test_cfg.rcnn.score_thr': 0}),
        ('test_cfg.rpn.nms_pre=4', {'model.test_cfg.rpn.nms_pre': 4}),
        ('train_cfg.rpn.pos_weight=4', {'model.train_cfg.rpn.pos_weight': 4}),
        (
            'train_cfg.rpn_proposal.nms_pre=4',
            {'model.train_cfg.rpn_proposal.nms_pre': 4},
        ),
        (
            'train_cfg.rcnn.sampler.num=4',
            {'model.train_cfg.rcnn.sampler.num': 4},
        ),
        # paths were written in full
        (
            'data.train.ann_file=data/coco/a.json',
            {'train_dataloader.dataset.ann_file': 'a.json'},
        ),
        (
            'data.train.img_prefix=data/coco/a/',
            {'train_dataloader.dataset.data_prefix.img': 'a/'},
        ),
        (
            'data.val.ann_file=data/coco/a.json',
            {
                'val_dataloader.dataset.ann_file': 'a.json',
                'val_evaluator.ann_file': 'data/coco/a.json',
                'test_evaluator.ann_file': 'data/coco/train.json',
            },
        ),
        (
            'data.test.ann_file=/b/a.json',
            {
                'test_dataloader.dataset.ann_file': '/b/a.json',
                'test_evaluator.ann_file': '/b/a.json',
            },
        ),
        (
            'data.train.pipeline.0.type=Pad',
            {'train_dataloader.dataset.pipeline.0.type': 'Pad'},
        ),
    ],
)
def test_translated(
    option: str, expected: Dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    cfg = make_config()
    apply_overrides(cfg, [option])
    assert {key: entry(cfg, key) for key in expected} == expected
    old = option.split('=')[0]
    notice = capsys.readouterr().err
    assert (f'"{old}" of mmdet 2.x' in notice) == (old not in expected)
    assert old in expected or not has_entry(cfg, old)


@pytest.mark.parametrize(
    'option, message',
    [
        (
            'runner.max_iters=4',
            'EpochBasedTrainLoop .*train_cfg.max_epochs, which is 12',
        ),
        ('lr_config.step=[8,11]', 'param_scheduler.1.milestones'),
        ('lr_config.warmup_iters=4', 'the list param_scheduler'),
        ('log_config.hooks.0.type=TensorboardLoggerHook', 'vis_backends'),
        ('fp16.loss_scale=512.', 'AmpOptimWrapper'),
        ('workflow=[("train",1)]', 'val_interval'),
        (
            'optimizer.nesterov=True',
            r'Write \+optim_wrapper.optimizer.nesterov=…',
        ),
        ('optimizer.ls=1', 'did you mean "optim_wrapper.optimizer.lr"'),
        ('optimizer_config.type=X', 'optim_wrapper'),
    ],
)
def test_what_has_no_such_place(option: str, message: str) -> None:
    cfg = make_config()
    with pytest.raises(ValueError, match=message):
        apply_overrides(cfg, [option])
    assert cfg.to_dict() == make_config().to_dict()


def test_a_key_that_the_config_has_is_left_alone(
    capsys: pytest.CaptureFixture,
) -> None:
    cfg = make_config()
    cfg.test_cfg = dict(rcnn=dict(score_thr=0.5))
    apply_overrides(cfg, ['test_cfg.rcnn.score_thr=0'])
    assert cfg.test_cfg.rcnn.score_thr == 0
    assert cfg.model.test_cfg.rcnn.score_thr == 0.1
    assert capsys.readouterr().err == ''


def test_an_extraction_has_no_epochs_and_no_hooks(
    capsys: pytest.CaptureFixture,
) -> None:
    cfg = read_config(str(CONFIGS / 'proposal_feature_extractor.py'))
    apply_overrides(cfg, ['log_config.interval=4'])
    assert cfg.default_hooks.logger.interval == 4
    assert (
        'default_hooks.logger.interval has no effect'
        in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match='ExtractionLoop .* no such limit'):
        apply_overrides(cfg, ['total_epochs=4'])
