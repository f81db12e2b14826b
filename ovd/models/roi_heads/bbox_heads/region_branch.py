"""Layers that turn pooled features into region embeddings.

Shapes: R RoIs, F features, D embedding size.
"""

from typing import Any, Dict, Optional

from mmcv.cnn import build_norm_layer
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.utils import ConfigType, OptConfigType
from mmengine.model import Sequential
from torch import nn

LAYERS = (
    'num_shared_convs',
    'num_shared_fcs',
    'num_cls_convs',
    'num_cls_fcs',
    'num_reg_convs',
    'num_reg_fcs',
)


class RegionBranch(ConvFCBBoxHead):
    """The host's box head whose ``fc_cls`` projects into CLIP's space.

    Args:
        fc_norm_cfg (OptConfigType): Norm layer behind each of the shared
            fully connected layers, ``SyncBN`` or ``BN1d``, which Google's
            ViLD has and the host has not. Defaults to None.
        args, kwargs: See :class:`mmdet.models.ConvFCBBoxHead`.

    Raises:
        ValueError: If the norm layer is one for images, or the numbers of
            layers don't go together.
    """

    def __init__(
        self,
        *args: Any,
        fc_norm_cfg: OptConfigType = None,
        init_cfg: Optional[ConfigType] = None,
        **kwargs: Any,
    ) -> None:
        if fc_norm_cfg and fc_norm_cfg.get('type') in ('BN', 'BN2d', 'BN3d'):
            raise ValueError(
                'fc_norm_cfg is for vectors: expected SyncBN, BN1d or LN, got '
                f'{fc_norm_cfg["type"]}'
            )
        if not args:  # of which the host's order would tell the names
            _check_layers(kwargs)
        self.fc_norm_cfg = fc_norm_cfg  # the host builds layers in __init__
        super().__init__(*args, init_cfg=init_cfg, **kwargs)
        if fc_norm_cfg is not None and init_cfg is None:
            # The host's would treat norm layers as if they were linear.
            self.init_cfg: Dict[str, Any] = dict(
                type='Xavier', layer='Linear', distribution='uniform'
            )
            if self.with_reg:  # as the host's and Google's
                self.init_cfg['override'] = dict(
                    type='Normal', std=0.001, name='fc_reg'
                )

    def _add_conv_fc_branch(self, *args: Any, **kwargs: Any) -> tuple:
        """Put a norm layer behind each fully connected layer, if asked to."""
        convs, fcs, last_layer_dim = super()._add_conv_fc_branch(
            *args, **kwargs
        )
        if self.fc_norm_cfg is not None:
            fcs = nn.ModuleList(
                Sequential(
                    fc, build_norm_layer(self.fc_norm_cfg, fc.out_features)[1]
                )
                for fc in fcs
            )
        return convs, fcs, last_layer_dim

    def project_to(self, embed_dims: int) -> None:
        """Have ``fc_cls`` give D numbers in place of one per class."""
        self.fc_cls = nn.Linear(self.cls_last_dim, embed_dims)


def _check_layers(cfg: ConfigType) -> None:
    """Raise where the host would only assert."""
    numbers = {name: cfg.get(name, 0) for name in LAYERS}
    if not any(numbers.values()):
        raise ValueError(
            'expected at least one layer, got none: set num_shared_fcs=2, or '
            f'some of {", ".join(LAYERS)}, of the box head and of its '
            'image_branch'
        )
    if numbers['num_shared_fcs'] and (
        numbers['num_cls_convs'] or numbers['num_reg_convs']
    ):
        raise ValueError(
            'convolutions of num_cls_convs and num_reg_convs can not follow '
            f'num_shared_fcs={numbers["num_shared_fcs"]}: take '
            'num_shared_convs, or num_cls_fcs and num_reg_fcs'
        )
    for name in ('num_reg_convs', 'num_reg_fcs'):
        if numbers[name] and not cfg.get('with_reg', True):
            raise ValueError(
                f'{name}={numbers[name]} of a branch without boxes: those '
                'come from the text branch'
            )
