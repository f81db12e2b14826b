_base_ = 'vild_mask-rcnn_r18_fpn_miniature.py'

# Names are learned from CLIP's embeddings alone, boxes as ever.
model = dict(
    roi_head=dict(
        bbox_head=dict(scoring='image', loss_cls=dict(loss_weight=0.0))
    )
)
work_dir = 'work_dirs/miniature/vild-image'
