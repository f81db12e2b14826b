_base_ = [
    'mmdet::_base_/models/rpn_r50_fpn.py',
    '../_base_/datasets/lvis_v1_866_337_proposals.py',
    'mmdet::_base_/schedules/schedule_20e.py',
    '../_base_/default_runtime.py',
]
