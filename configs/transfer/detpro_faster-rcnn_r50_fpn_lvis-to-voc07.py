_base_ = [
    '../_base_/models/vild-star_faster-rcnn_r50_fpn.py',
    '../_base_/datasets/voc07.py',
    '../_base_/default_runtime.py',
]

# DetPro trained on LVIS (its masks are left out), tested on VOC 2007.
model = dict(
    roi_head=dict(
        bbox_head=dict(
            num_classes=20,
            base_weight=0.6,
            novel_weight=0.6,
            # The prompts learned on LVIS: tools/class_embeddings.py learned
            classifier=dict(class_embeddings='data/voc/prompt/learned.pth'),
        )
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.05, max_per_img=100)),
)
