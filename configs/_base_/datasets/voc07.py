# The test set of PASCAL VOC 2007, all 20 classes, images of 1000 x 600: for
# detectors that were trained elsewhere. AP is VOC's own, over 11 points.
_base_ = 'mmdet::_base_/datasets/voc0712.py'

train_dataloader = None
val_dataloader = None
val_evaluator = None

test_evaluator = dict(iou_thrs=[0.5, 0.75])
test_cfg = dict(type='TestLoop')
