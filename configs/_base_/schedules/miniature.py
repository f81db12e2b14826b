_base_ = '../default_runtime.py'

# AdamW and a warm-up; configs add their length and the cosine that ends it.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10),
)
warmup = dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=30)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=100)
)
log_processor = dict(by_epoch=False)
