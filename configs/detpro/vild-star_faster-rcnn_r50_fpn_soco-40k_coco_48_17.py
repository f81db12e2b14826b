_base_ = 'vild-star_faster-rcnn_r50_fpn_soco-20e_coco_48_17.py'

# ViLD as LutingWang/OADP has it on COCO: its checkpoints, converted, are for
# this config. There it distils OAKE's square crops, and trains with --amp.
model = dict(
    roi_head=dict(
        bbox_head=dict(
            classifier=dict(temperature=0.007, test_temperature=0.01)
        )
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
    test_cfg=dict(rcnn=dict(score_thr=0.0)),
)
max_iters = 40000
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=2000,
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'roi_head.bbox_head': dict(lr_mult=0.5),
            'roi_head.bbox_head.image_branch': dict(lr_mult=1.0),
        }
    )
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=max_iters,
        milestones=[30000],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2000))
log_processor = dict(by_epoch=False)
