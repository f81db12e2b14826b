_base_ = [
    '../_base_/models/rpn_r101_fpn.py',
    '../_base_/datasets/coco_48_17_proposals.py',
    'mmdet::_base_/schedules/schedule_20e.py',
    '../_base_/default_runtime.py',
]
