# COCO 2017, boxes, with base and novel classes. The files named by the host's
# config are those that tools/build_zsl_dataset.py splits; detectors override
# ann_file.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

train_dataloader = dict(dataset=dict(type='GZSLCocoDataset'))
val_dataloader = dict(dataset=dict(type='GZSLCocoDataset'))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='GZSLCocoMetric',
    ann_file='data/coco/annotations/instances_val2017.json',
    metric='bbox',
)
test_evaluator = val_evaluator
