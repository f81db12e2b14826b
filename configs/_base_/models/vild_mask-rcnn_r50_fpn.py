_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

# ViLD-text as Google trains it, tensorflow/tpu, projects/vild: from scratch,
# batch norm everywhere (the host's RPN has none), 4 convolutions and 2 fully
# connected layers. Configs add the class embeddings and num_classes.
image_size = (1024, 1024)
norm_cfg = dict(type='SyncBN', eps=1e-4, momentum=0.003, requires_grad=True)
box_branch = dict(
    num_shared_convs=4,
    num_shared_fcs=2,
    norm_cfg=norm_cfg,
    fc_norm_cfg=norm_cfg,
)

model = dict(
    data_preprocessor=dict(
        batch_augments=[
            dict(type='BatchFixedSizePad', size=image_size, pad_mask=True)
        ]
    ),
    backbone=dict(
        frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=False, init_cfg=None
    ),
    neck=dict(norm_cfg=norm_cfg),
    # Google's Huber losses. It averages them over the boxes of objects, the
    # host over all samples: they weigh about the same, not exactly.
    rpn_head=dict(
        num_convs=2,
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0),
    ),
    roi_head=dict(
        bbox_head=dict(
            type='ViLDBBoxHead',
            **box_branch,
            reg_class_agnostic=True,
            classifier=dict(
                type='ClassEmbeddingClassifier',
                embed_dims=512,
                temperature=0.01,
            ),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        ),
        mask_head=dict(norm_cfg=norm_cfg, class_agnostic=True),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=300)),
)
