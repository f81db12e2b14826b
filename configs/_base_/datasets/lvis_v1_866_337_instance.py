# LVIS v1, trained on 866 base classes. Make the file with
# tools/build_zsl_dataset.py configs/_base_/datasets/lvis_v1_detection.py
# --split 866_337
_base_ = 'lvis_v1_instance.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(ann_file='annotations/lvis_v1_train_866_337_1.json')
    )
)
