_base_ = ['vild-star_faster-rcnn_r50_fpn.py', '../imagenet_1x.py']

# For data of your own, which one GPU or a few can learn.
model = dict(backbone=_base_.imagenet_1x.backbone)
del _base_.imagenet_1x
