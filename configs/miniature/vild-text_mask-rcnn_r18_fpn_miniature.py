_base_ = 'vild_mask-rcnn_r18_fpn_miniature.py'

# Names are learned from text alone, and nothing is distilled.
roi_head = dict(_base_.model.roi_head, _delete_=True, type='StandardRoIHead')
roi_head.pop('loss_distill')

model = dict(roi_head=roi_head)
train_pipeline = [
    *_base_.train_pipeline[:2],
    *_base_.train_pipeline[3].transforms,
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
work_dir = 'work_dirs/miniature/vild-text'
