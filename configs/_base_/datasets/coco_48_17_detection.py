# COCO 2017, boxes, 48 base and 17 novel classes. Make the files with
# tools/build_zsl_dataset.py configs/_base_/datasets/coco_detection.py
# --split 48_17
_base_ = 'coco_detection.py'
val_file = 'annotations/instances_val2017_48_17_1.json'

train_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_train2017_48_17_1.json')
)
val_dataloader = dict(dataset=dict(ann_file=val_file))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file='data/coco/' + val_file)
test_evaluator = val_evaluator
