# LVIS v0.5, trained on 776 base classes. Make the file with
# tools/build_zsl_dataset.py configs/_base_/datasets/lvis_v0.5_instance.py
# --split 776_454
_base_ = 'lvis_v0.5_instance.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(ann_file='annotations/lvis_v0.5_train_776_454_1.json')
    )
)
