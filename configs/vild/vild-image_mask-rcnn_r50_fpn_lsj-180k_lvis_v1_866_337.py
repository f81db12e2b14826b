_base_ = 'vild_mask-rcnn_r50_fpn_lsj-180k_lvis_v1_866_337.py'

# Names are learned from CLIP's embeddings alone, boxes as ever.
model = dict(
    roi_head=dict(
        bbox_head=dict(scoring='image', loss_cls=dict(loss_weight=0.0))
    )
)
