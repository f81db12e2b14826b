_base_ = [
    '../_base_/models/mask-rcnn_r18_fpn_miniature.py',
    '../_base_/datasets/miniature_instance.py',
    '../_base_/schedules/miniature.py',
]

# The detector's own backbone, neck and RPN, trained on base boxes alone.
model = dict(
    _delete_=True,
    type='RPN',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    rpn_head=_base_.model.rpn_head,
    train_cfg=dict(rpn=_base_.model.train_cfg.rpn),
    test_cfg=dict(rpn=dict(_base_.model.test_cfg.rpn, max_per_img=20)),
)

max_dets = (5, 10, 20)  # of an image, for recall

train_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_train_48_17_1.json')
)
val_dataloader = None
val_evaluator = None
val_cfg = None

train_cfg = dict(max_iters=200)
param_scheduler = [
    _base_.warmup,
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=30, end=200, T_max=170
    ),
]
work_dir = 'work_dirs/miniature/rpn'
