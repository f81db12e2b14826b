_base_ = [
    '../_base_/models/vild_faster-rcnn_r50_fpn.py',
    '../_base_/datasets/objects365v2_detection.py',
    '../_base_/class_embeddings/vild.py',
    '../_base_/default_runtime.py',
]

# ViLD-text trained on LVIS (its masks are left out), tested on Objects365.
model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=365,
            classifier=dict(
                class_embeddings='data/objects365/prompt/vild.pth'
            ),
        )
    )
)
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=(1024, 1024), keep_ratio=True)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
default_hooks = dict(class_embeddings=_base_.pop('class_embedding_hook'))
