# Your own files in COCO format. tools/new_dataset.py checks them and writes a
# config over this one; or edit the lines marked with "<-", then
#   python tools/build_zsl_dataset.py \
#       configs/_base_/datasets/custom_detection.py \
#       --split data/custom/annotations/split.json
# where split.json is {"base": [names], "novel": [names]}, makes the files of
# custom_split_detection.py, which detectors inherit.
_base_ = 'coco_detection.py'
data_root = 'data/custom/'  # <- the next paths are relative to it
train_file = 'annotations/train.json'  # <-
val_file = 'annotations/val.json'  # <-

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=train_file,
        data_prefix=dict(img='train/'),  # <- folder of the images
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file=val_file,
        data_prefix=dict(img='val/'),  # <- folder of the images
    )
)
test_dataloader = val_dataloader

# 'bbox' or ['bbox', 'segm'], if the files have masks
val_evaluator = dict(ann_file=data_root + val_file, metric='bbox')  # <-
test_evaluator = val_evaluator
