# COCO 2017, boxes, all 80 classes: for detectors that were trained elsewhere.
_base_ = 'coco_detection.py'

train_dataloader = None
val_dataloader = None
val_evaluator = None

test_dataloader = dict(dataset=dict(metainfo=dict(base_classes=())))
test_cfg = dict(type='TestLoop')
