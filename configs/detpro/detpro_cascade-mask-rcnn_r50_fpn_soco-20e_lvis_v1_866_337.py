_base_ = 'detpro_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py'

# The host's Cascade Mask R-CNN. Upstream, a slip adds the box head's losses of
# stage 1 (the second) once more with weight 1, which replace those of stage 0
# there: these losses weigh 1, 1.5, 0.25, those of masks 1, 0.5, 0.25. Here
# all have the host's weights. SoCo's box head fits none of the stages.
head = _base_.model.roi_head.bbox_head
rcnn = _base_.model.train_cfg.rcnn

model = dict(
    type='CascadeRCNN',
    rpn_head=dict(
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
    ),
    roi_head=dict(
        type='ViLDCascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(
                head,
                bbox_coder=dict(head.bbox_coder, target_stds=stds),
                loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
                # Projections start as nn.Linear does, unlike Mask R-CNN's.
                init_cfg=head.init_cfg[1:],
                image_branch=dict(head.image_branch, init_cfg=[]),
            )
            for stds in (
                [0.1, 0.1, 0.2, 0.2],
                [0.05, 0.05, 0.1, 0.1],
                [0.033, 0.033, 0.067, 0.067],
            )
        ],
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[
            dict(
                rcnn,
                assigner=dict(
                    rcnn.assigner,
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                ),
            )
            for iou in (0.5, 0.6, 0.7)
        ],
    ),
    test_cfg=dict(rcnn=dict(score_thr=1e-3)),
)
