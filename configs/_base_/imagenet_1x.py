# For those without SoCo's weights, which are worth about 6 AP: the host's
# backbone and schedule. Don't compare it with published rows. Configs put the
# parts over those of another one.
imagenet_1x = dict(
    backbone=dict(
        frozen_stages=1,
        norm_cfg=dict(type='BN'),
        style='pytorch',
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='torchvision://resnet50',
        ),
    ),
    train_cfg=dict(max_epochs=12),
    optim_wrapper=dict(optimizer=dict(weight_decay=1e-4)),
    param_scheduler=[
        dict(
            type='LinearLR',
            start_factor=0.001,
            by_epoch=False,
            begin=0,
            end=500,
        ),
        dict(
            type='MultiStepLR',
            begin=0,
            end=12,
            by_epoch=True,
            milestones=[8, 11],
            gamma=0.1,
        ),
    ],
)
