"""Which config of ours loads weights that other projects trained.

Neither heads nor class names tell by which sentences a detector knows its
classes: ViLD* and DetPro have one form.
"""

from typing import Collection, Dict, Tuple

from .checkpoint_layouts import find_stages

FOLDER = 'configs/detpro/'
# (form, number of stages, whether it has masks) -> config with two branches
DETECTORS: Dict[Tuple[str, int, bool], str] = {
    (
        'detpro',
        1,
        True,
    ): 'vild-star_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py',
    (
        'detpro',
        3,
        True,
    ): 'vild-star_cascade-mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py',
    (
        'detpro',
        1,
        False,
    ): 'vild-star_faster-rcnn_r50_fpn_soco-20e_coco_48_17.py',
    # On LVIS it has the temperatures and heads of DetPro.
    (
        'oadp',
        1,
        True,
    ): 'vild-star_mask-rcnn_r50_fpn_soco-20e_lvis_v1_866_337.py',
    ('oadp', 1, False): 'vild-star_faster-rcnn_r50_fpn_soco-40k_coco_48_17.py',
}
STARTS: Dict[str, str] = {
    'soco': 'load_from of configs/detpro/*_soco-*.py',
    'mmdet': 'load_from of configs with its ResNet, such as '
    'configs/detpro/*_imagenet-1x_*.py or configs/rpn/*.py',
    'torchvision': 'load_from of configs with this ResNet, such as '
    'configs/detpro/*_imagenet-1x_*.py or configs/rpn/*.py',
}


def name_config(form: str, keys: Collection[str]) -> str:
    """Return in words which config is for converted weights.

    Args:
        form (str): A key of ``LAYOUTS``: what they were.
        keys (Collection[str]): Those of ovd.
    """
    if form in STARTS:
        return STARTS[form]
    kind = (
        form,
        len(find_stages(keys)),
        any(key.startswith('roi_head.mask_head') for key in keys),
    )
    two_branches = any('.image_branch.' in key for key in keys)
    if kind not in DETECTORS or not two_branches:
        return (
            'none here has such heads: base yours on '
            f'{FOLDER}{DETECTORS["detpro", 1, True]}'
        )
    path = FOLDER + DETECTORS[kind]
    if 'soco-40k' in path:
        return path
    return (
        f'{path}, or of learned prompts '
        f'{path.replace("vild-star_", "detpro_")}'
    )
