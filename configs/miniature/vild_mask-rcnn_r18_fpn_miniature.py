_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

# One head learns from names and from CLIP's embeddings of proposals.
bbox_head = dict(
    _base_.model.roi_head.bbox_head,
    _delete_=True,
    type='ViLDBBoxHead',
    scoring='text',
)
bbox_head.pop('image_branch')

model = dict(roi_head=dict(bbox_head=bbox_head))
work_dir = 'work_dirs/miniature/vild'
