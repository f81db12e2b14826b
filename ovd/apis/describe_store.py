"""What embedding stores and their shards say of themselves."""

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ovd.artifacts.embedding_store import BOX_KINDS, MANIFEST
from ovd.artifacts.files import PathLike
from ovd.artifacts.store_check import ShardContent, check_shard
from ovd.artifacts.store_plan import StorePlan
from ovd.artifacts.store_writer import ABANDONED_AFTER

from .artifact_description import Description, counted, flatten, list_names
from .store_survey import StoreSurvey, survey_store


def describe_store(folder: PathLike) -> Description:
    """Describe an embedding store and check each byte of its shards.

    Raises:
        ValueError: If it has no manifest, or that is damaged.
    """
    return describe_survey(survey_store(folder, check_shard))


def describe_survey(survey: StoreSurvey) -> Description:
    """Describe a store that was looked through."""
    plan = survey.plan
    details = {
        'shards': f'{plan.num_shards - len(survey.missing):,} of '
        f'{plan.num_shards:,}, {plan.images_per_shard:,} images each',
        **_describe_content(survey.sound),
        **_describe_broken(survey.sound, plan),
        **_describe_plan(plan),
    }
    if survey.unknown:
        details['unknown files'] = list_names(survey.unknown)
    if survey.leftovers:
        details['temporary files'] = (
            f'{list_names(survey.leftovers)}, of runs under way or killed; a '
            'run that completes the store removes those older than '
            f'{ABANDONED_AFTER // 60} minutes'
        )
    number = counted(len(plan.image_ids), 'image', 'images')
    return Description(
        f'proposal embeddings of {number}', details, _list_faults(survey)
    )


def _list_faults(survey: StoreSurvey) -> List[str]:
    faults = []
    if survey.missing:
        faults.append(
            f'{len(survey.missing):,} of {survey.plan.num_shards:,} shards '
            f'are missing: {list_names(survey.missing)}; resume with: '
            f'{survey.resume}'
        )
    faults += [
        f'{fault}; remove it and resume with: {survey.resume}'
        for fault in survey.damaged.values()
    ]
    faults += [
        f'{fault}; make it readable, or move it away and resume with: '
        f'{survey.resume}'
        for fault in survey.unreadable.values()
    ]
    faults += [
        f'{fault}; remove it and resume with: {survey.resume}'
        for fault in survey.foreign.values()
    ]
    return faults


def _describe_content(shards: Sequence[ShardContent]) -> Dict[str, Any]:
    """Say how many boxes shards have, of which kinds, and in what space."""
    boxes = [number for shard in shards for number in shard.boxes]
    total, size = sum(boxes), sum(shard.size for shard in shards)
    kinds = {
        kind: sum(shard.kinds[kind] for shard in shards) for kind in BOX_KINDS
    }
    details = dict(embeddings=f'{total:,}')
    if total:
        details['kinds'] = ', '.join(
            f'{kind} {number:,}' for kind, number in kinds.items() if number
        )
        details['per image'] = (
            f'{min(boxes):,} to {max(boxes):,}, '
            f'{total / len(boxes):,.1f} on average'
        )
        details['bytes'] = f'{size:,}, {size / total:,.1f} per embedding'
    sizes = sorted({(shard.embed_dims, shard.dtype) for shard in shards})
    details['size'] = (
        ', '.join(f'{dims} {dtype}' for dims, dtype in sizes) or 'unknown'
    )
    return details


def _describe_broken(
    shards: Sequence[ShardContent], plan: Optional[StorePlan]
) -> Dict[str, str]:
    """Name the images that could not be read."""
    names = dict(zip(plan.image_ids, plan.image_keys)) if plan else {}
    broken = {
        image_id: reason
        for shard in shards
        for image_id, reason in shard.broken.items()
    }
    details = {
        f'broken image {names.get(image_id, "")} (id {image_id})': reason
        for image_id, reason in broken.items()
    }
    return (
        dict(
            {'broken images': f'{len(broken):,}, they have no boxes'},
            **details,
        )
        if broken
        else {}
    )


def _describe_plan(plan: StorePlan) -> dict:
    return flatten(
        dict(
            clip=plan.clip,
            proposals=plan.proposals or 'none',
            annotations=plan.annotations,
            settings=plan.settings,
            command=plan.command,
        )
    )


def describe_shard(path: PathLike) -> Description:
    """Describe and check one shard of an embedding store.

    Raises:
        ValueError: If it is damaged or of another store.
    """
    path = Path(path)
    manifest = path.with_name(MANIFEST)
    plan: Optional[StorePlan] = (
        StorePlan.load(manifest) if manifest.is_file() else None
    )
    found = check_shard(path, *(plan.digest(), plan.dtype) if plan else ())
    details = dict(
        shard=f'{found.shard} of {plan.num_shards}' if plan else found.shard,
        **_describe_content([found]),
        **_describe_broken([found], plan),
    )
    details.update(
        _describe_plan(plan)
        if plan
        else dict(manifest='not beside it: which CLIP made it is not known')
    )
    number = counted(len(found.boxes), 'image', 'images')
    return Description(f'proposal embeddings of {number}', details)
