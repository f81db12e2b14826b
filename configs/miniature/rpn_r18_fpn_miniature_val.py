_base_ = 'rpn_r18_fpn_miniature.py'

# How many base and novel objects the RPN finds: python tools/test.py THIS CKPT
test_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_val_48_17_1.json')
)
test_evaluator = dict(
    _delete_=True,
    type='ProposalRecall',
    ann_file='data/miniature/annotations/instances_val_48_17_1.json',
    max_dets=_base_.max_dets,
)
