_base_ = 'vild_180k.py'

# "16x" of COCO; the steps are at the same shares of it.
max_iters = 90000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=1000),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=max_iters,
        milestones=[81000, 85500, 87750],
        gamma=0.1,
    ),
]
