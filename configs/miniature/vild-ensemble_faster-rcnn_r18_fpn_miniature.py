_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadAnnotations', with_bbox=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = dict(metric='bbox')
work_dir = 'work_dirs/miniature/vild-ensemble_faster-rcnn'
