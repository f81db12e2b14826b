_base_ = '../default_runtime.py'

# Google's ViLD on LVIS, 460 epochs, of batches of 256 images on all GPUs
# together. On fewer, auto_scale_lr.enable=True fits the learning rate.
max_iters = 180000
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10000
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.32, momentum=0.9, weight_decay=4e-5),
    # It decays kernels alone.
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=1000),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=max_iters,
        milestones=[162000, 171000, 175500],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000))
log_processor = dict(by_epoch=False)
