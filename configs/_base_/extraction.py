_base_ = 'default_runtime.py'

# Embed boxes of images with CLIP: python tools/train.py CONFIG. Configs add
# model.clip, the dataset, proposals and store.
runner_type = 'ExtractionRunner'
model = dict(
    type='ProposalFeatureExtractor',
    crop_scales=(1.0, 1.5),
    crop_mode='fast',  # 'clip': the very pixels of openai-clip's transform
    batch_size='auto',  # what is fastest here, measured before the start
    precision='auto',
    compiled='auto',  # CLIP's image tower, if that pays
)
train_dataloader = dict(
    num_workers=None,  # of a process; None: as cores and CLIP's device allow
    dataset=dict(
        test_mode=True,
        # Pillow, because OpenCV passes over files that are cut off.
        pipeline=[dict(type='LoadImageFromFile', imdecode_backend='pillow')],
    ),
)
train_cfg = dict(
    type='ExtractionLoop',
    patience=3600.0,  # seconds to wait for a shard of another process
    boxes=dict(
        num_max=300,  # proposals of an image: ViLD; DetPro takes 1000
        min_size=0,
        nms_iou=None,
        ground_truth=False,
        jitter=0,
        whole_image=False,
    ),
    images_per_shard=100,
    dtype='float16',
    skip_broken=False,
)
