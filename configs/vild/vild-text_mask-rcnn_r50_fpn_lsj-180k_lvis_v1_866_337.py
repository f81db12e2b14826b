_base_ = [
    '../_base_/models/vild_mask-rcnn_r50_fpn.py',
    '../_base_/datasets/lvis_v1_866_337_lsj.py',
    '../_base_/class_embeddings/vild.py',
    '../_base_/schedules/vild_180k.py',
]
data_root = 'data/lvis_v1/'

# Google averages over synonyms, too, and the hook's file does not: the
# metafile has the command for one that does.
model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=1203,
            classifier=dict(class_embeddings=data_root + 'prompt/vild.pth'),
        ),
        mask_head=dict(num_classes=1203),
    )
)
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
