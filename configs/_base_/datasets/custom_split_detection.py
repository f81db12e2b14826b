# Your own files, split; see custom_detection.py. A split called otherwise than
# split.json gives other names than *_split_1.json.
_base_ = 'custom_detection.py'
val_file = 'annotations/val_split_1.json'

train_dataloader = dict(
    dataset=dict(ann_file='annotations/train_split_1.json')
)
val_dataloader = dict(dataset=dict(ann_file=val_file))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=_base_.data_root + val_file)
test_evaluator = val_evaluator
