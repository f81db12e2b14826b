_base_ = 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'

# The trained ViLD finds boxes of any class; CLIP names their crops.
model = dict(
    type='CLIPOnBoxes',
    teacher='pretrained/clip/miniature.pt',
    class_embeddings='data/miniature/prompt/vild.pth',
    temperature=0.05,
    roi_head=dict(bbox_head=dict(scoring='objectness')),
)
