_base_ = 'vild_mask-rcnn_r50_fpn.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(
        pad_mask=False,
        batch_augments=[
            dict(type='BatchFixedSizePad', size=_base_.image_size)
        ],
    ),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
