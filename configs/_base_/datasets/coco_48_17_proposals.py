# For RPNs of COCO's 48 base classes: validated by how many objects they find.
_base_ = 'coco_48_17_detection.py'

val_evaluator = dict(
    _delete_=True,
    type='ProposalRecall',
    ann_file='data/coco/' + _base_.val_file,
)
test_evaluator = val_evaluator
