_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

# A detector for images of 160 pixels: narrow, three levels, from scratch.
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128], out_channels=64, num_outs=3),
    rpn_head=dict(
        in_channels=64,
        feat_channels=32,
        anchor_generator=dict(
            scales=[6], ratios=[0.6, 1.0, 1.7], strides=[4, 8, 16]
        ),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64, featmap_strides=[4, 8], finest_scale=28
        ),
        bbox_head=dict(
            in_channels=64,
            fc_out_channels=256,
            num_classes=65,
            reg_class_agnostic=True,
        ),
        mask_roi_extractor=dict(
            out_channels=64, featmap_strides=[4, 8], finest_scale=28
        ),
        mask_head=dict(
            num_convs=1,
            in_channels=64,
            conv_out_channels=32,
            class_agnostic=True,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=48)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=40), rcnn=dict(score_thr=1e-3)
    ),
)
