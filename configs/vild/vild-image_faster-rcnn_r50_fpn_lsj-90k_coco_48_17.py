_base_ = 'vild_faster-rcnn_r50_fpn_lsj-90k_coco_48_17.py'

# Names are learned from CLIP's embeddings alone, boxes as ever.
model = dict(
    roi_head=dict(
        bbox_head=dict(scoring='image', loss_cls=dict(loss_weight=0.0))
    )
)
