"""GZSL splits, datasets and transforms."""
from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from .captioned_crops import CaptionedCrops  # noqa: F401
    from .gzsl_coco import GZSLCocoDataset  # noqa: F401
    from .transforms import LoadProposalEmbeddings, PackDistillInputs  # noqa: F401
