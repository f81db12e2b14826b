_base_ = 'vild_faster-rcnn_r50_fpn.py'

model = dict(
    roi_head=dict(
        type='ViLDRoIHead',
        bbox_head=dict(
            type='ViLDEnsembleBBoxHead',
            image_branch=_base_.box_branch,
            scoring='ensemble',
        ),
        loss_distill=dict(type='DistillationLoss', loss_weight=0.5),
    )
)
