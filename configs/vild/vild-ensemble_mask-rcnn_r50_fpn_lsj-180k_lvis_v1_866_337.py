_base_ = 'vild_mask-rcnn_r50_fpn_lsj-180k_lvis_v1_866_337.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='ViLDEnsembleBBoxHead',
            image_branch=_base_.box_branch,
            scoring='ensemble',
        )
    )
)
