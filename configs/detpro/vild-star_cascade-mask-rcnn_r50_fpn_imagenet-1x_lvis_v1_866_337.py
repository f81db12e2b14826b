_base_ = [
    'vild-star_cascade-mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py',
    '../_base_/imagenet_1x.py',
]

model = dict(backbone=_base_.imagenet_1x.backbone)
train_cfg = _base_.imagenet_1x.train_cfg
optim_wrapper = _base_.imagenet_1x.optim_wrapper
param_scheduler = _base_.imagenet_1x.param_scheduler
load_from = None
del _base_.imagenet_1x
