# LVIS v1, 866 base classes, as Google trains ViLD on them: large scale jitter,
# and each image as often as the others.
_base_ = 'lvis_v1_866_337_instance.py'
image_scale = (1024, 1024)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomResize',
        scale=image_scale,
        ratio_range=(0.1, 2.0),
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=image_scale, allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=image_scale, keep_ratio=True)

train_dataloader = dict(
    batch_size=4,  # of 64 GPUs: 256
    num_workers=4,
    sampler=dict(type='InfiniteSampler'),
    batch_sampler=None,
    dataset=dict(
        _base_.train_dataloader.dataset.dataset,
        _delete_=True,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
