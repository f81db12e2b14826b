_base_ = ['mmdet::_base_/schedules/schedule_20e.py', '../default_runtime.py']

# One step, and a fourth of the host's weight decay
optim_wrapper = dict(optimizer=dict(weight_decay=2.5e-5))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500
    ),
    dict(
        type='MultiStepLR',
        begin=0,
        end=20,
        by_epoch=True,
        milestones=[16],
        gamma=0.1,
    ),
]
