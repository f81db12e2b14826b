# Objects365 v2, boxes, all 365 classes: for detectors that were trained
# elsewhere. Names and their order, unlike those of v1, are the file's own.
_base_ = 'mmdet::_base_/datasets/objects365v2_detection.py'

train_dataloader = None
val_dataloader = None
val_evaluator = None

test_dataloader = dict(
    dataset=dict(
        type='GZSLObjects365V2Dataset', metainfo=dict(base_classes=())
    )
)
test_evaluator = dict(
    _delete_=True,
    type='GZSLCocoMetric',
    ann_file='data/Objects365/Obj365_v2/annotations/zhiyuan_objv2_val.json',
    metric='bbox',
)
test_cfg = dict(type='TestLoop')
