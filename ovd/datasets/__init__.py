"""GZSL splits, datasets and transforms."""

from importlib.util import find_spec

if find_spec('mmdet') is not None:
    from .captioned_crops import CaptionedCrops  # noqa: F401
    from .evaluated_dataset import EvaluatedDataset  # noqa: F401
    from .group_batch_sampler import GroupBatchSampler  # noqa: F401
    from .gzsl_coco import (  # noqa: F401
        GZSLCocoDataset,
        GZSLObjects365V1Dataset,
        GZSLObjects365V2Dataset,
    )
    from .gzsl_lvis import GZSLLVISV05Dataset, GZSLLVISV1Dataset  # noqa: F401
    from .patient_worker import patient_worker  # noqa: F401
    from .region_embeddings import RegionEmbeddings  # noqa: F401
    from .resumable_batch_sampler import ResumableBatchSampler  # noqa: F401
    from .seeded_dataset import SeededDataset  # noqa: F401
    from .transforms import (  # noqa: F401
        LoadProposalEmbeddings,
        LoadProposalsToEmbed,
        LoadWholeImage,
        PackDistillInputs,
    )
