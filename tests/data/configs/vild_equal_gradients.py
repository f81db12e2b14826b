_base_ = (
    '../../../configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
)

# The same gradients in one process as in two with half the batch each:
# nothing is drawn by lot, no statistics of the batch, and every loss that is
# left is divided by a number that is the same for each image.
custom_imports = dict(imports=['ovd', 'first_sampler'])
model = dict(
    backbone=dict(norm_eval=True),
    roi_head=dict(mask_head=dict(loss_mask=dict(loss_weight=0.0))),
    train_cfg=dict(
        rpn=dict(sampler=dict(type='FirstSampler')),
        rcnn=dict(sampler=dict(type='FirstSampler')),
    ),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].num_max = 10
train_pipeline[3].transforms = train_pipeline[3].transforms[:1]
train_dataloader = dict(
    sampler=dict(shuffle=False), dataset=dict(pipeline=train_pipeline)
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.01), clip_grad=None
)
param_scheduler = []
train_cfg = dict(max_iters=3)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
