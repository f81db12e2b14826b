# LVIS v1, boxes and masks; rare classes are novel. The training file named by
# the host's config is the one that tools/build_zsl_dataset.py splits; the val
# file needs no split.
_base_ = 'mmdet::_base_/datasets/lvis_v1_instance.py'

train_dataloader = dict(dataset=dict(dataset=dict(type='GZSLLVISV1Dataset')))
val_dataloader = dict(dataset=dict(type='GZSLLVISV1Dataset'))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='GZSLLVISMetric',
    ann_file='data/lvis_v1/annotations/lvis_v1_val.json',
    metric=['bbox', 'segm'],
)
test_evaluator = val_evaluator
