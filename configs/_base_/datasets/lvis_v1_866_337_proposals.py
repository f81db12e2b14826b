# For RPNs of LVIS's 866 base classes: validated by how many objects they find.
_base_ = 'lvis_v1_866_337_detection.py'

test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]

val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='ProposalRecall',
    ann_file='data/lvis_v1/annotations/lvis_v1_val.json',
)
test_evaluator = val_evaluator
