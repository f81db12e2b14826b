"""What annotation files, proposals and embedding stores say of themselves."""
from pathlib import Path
from typing import Dict, List, Optional

from tqdm import tqdm

from ovd.artifacts.embedding_store import MANIFEST
from ovd.artifacts.files import PathLike
from ovd.artifacts.proposals import load_proposals
from ovd.artifacts.store_check import ShardSize, check_shard
from ovd.artifacts.store_plan import StorePlan, find_missing_shards, shard_name
from ovd.datasets.annotation_file import load_annotation_file
from ovd.datasets.gzsl_header import SPLITTER
from ovd.datasets.gzsl_verify import verify_split

from .artifact_description import Description, counted, flatten, list_names


def describe_annotation_file(path: PathLike) -> Description:
    """Describe and check annotations, split or not.

    Raises:
        ValueError: If they are damaged, not COCO's form, or leak.
    """
    data = load_annotation_file(path)
    if data.gzsl is not None:
        return _describe_split(path, data.gzsl)
    kind = 'LVIS' if any(
        category.frequency for category in data.categories) else 'COCO'
    return Description(
        f'annotations in {kind} format', {
            'images': f'{len(data.images):,}',
            'annotations': f'{len(data.annotations):,}',
            'classes': list_names([c.name for c in data.categories]),
            'split': f'none, make one with: {SPLITTER}',
        })


def _describe_split(path: PathLike, gzsl: dict) -> Description:
    verified = verify_split(path)  # raises where an entry is missing
    details = {
        what: f'{gzsl["kept"][what]:,} kept, {gzsl["removed"][what]:,} removed'
        for what in ('images', 'annotations')
    }
    for group in ('base', 'novel'):
        number = counted(len(gzsl[group]), 'class', 'classes')
        details[group] = f'{number}: {list_names(gzsl[group])}'
    details['source'] = gzsl['source']['file']
    details['source sha256'] = gzsl['source']['sha256']
    details['verified'] = verified.removeprefix(f'{path}: ')
    return Description(
        f'annotations, {gzsl["subset"]} part of split {gzsl["split"]}',
        details)


def describe_proposals(path: PathLike) -> Description:
    """Describe and check proposals.

    Raises:
        ValueError: If they are damaged or something else.
    """
    found = load_proposals(path)
    numbers = [len(found[key]['scores']) for key in found]
    details = dict(boxes=f'{sum(numbers):,}')
    if numbers:
        details['per image'] = f'{min(numbers):,} to {max(numbers):,}'
        details['first image'] = next(iter(found))
    details.update(flatten(found.provenance) or
                   {'made by': 'the file does not say'})
    number = counted(len(found), 'image', 'images')
    return Description(f'proposals of {number}', details)


def describe_store(folder: PathLike) -> Description:
    """Describe an embedding store and check the shards that it has.

    Raises:
        ValueError: If it has no manifest, or that is damaged.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise ValueError(f'{folder} is no embedding store: it has no '
                         f'{MANIFEST}')
    plan = StorePlan.load(folder / MANIFEST)
    resume = f'resume with: {plan.command or "the command that made it"}'
    missing = find_missing_shards(folder, plan.num_shards)
    faults: List[str] = []
    if missing:
        faults.append(f'{len(missing):,} of {plan.num_shards:,} shards are '
                      f'missing; {resume}')
    present = sorted({*range(plan.num_shards)}.difference(missing))
    sound: List[ShardSize] = []
    for shard in tqdm(present, 'checking shards', leave=False, disable=None):
        try:
            sound.append(check_shard(folder / shard_name(shard), plan))
        except ValueError as error:
            faults.append(f'{error}; remove it and {resume}')
    details = {
        'shards': f'{len(present):,} of {plan.num_shards:,}, '
        f'{plan.images_per_shard:,} images each',
        **_count_embeddings(sound),
        **_describe_plan(plan),
    }
    number = counted(len(plan.image_ids), 'image', 'images')
    return Description(f'proposal embeddings of {number}', details, faults)


def _count_embeddings(shards: List[ShardSize]) -> Dict[str, str]:
    total = sum(shard.embeddings for shard in shards)
    sizes = sorted({shard.embed_dims for shard in shards})
    return dict(
        embeddings=f'{total:,} in these',
        size=', '.join(map(str, sizes)) or 'unknown')


def _describe_plan(plan: StorePlan) -> dict:
    return flatten(dict(
        clip=plan.clip, proposals=plan.proposals,
        annotations=plan.annotations, settings=plan.settings,
        command=plan.command))


def describe_shard(path: PathLike) -> Description:
    """Describe and check one shard of an embedding store.

    Raises:
        ValueError: If it is damaged or of another store.
    """
    path = Path(path)
    manifest = path.with_name(MANIFEST)
    plan: Optional[StorePlan] = \
        StorePlan.load(manifest) if manifest.is_file() else None
    found = check_shard(path, plan)
    details = dict(
        shard=f'{found.shard} of {plan.num_shards}' if plan else found.shard,
        embeddings=f'{found.embeddings:,}',
        size=found.embed_dims)
    details.update(_describe_plan(plan) if plan else dict(
        manifest='not beside it: which CLIP made it is not known'))
    number = counted(found.images, 'image', 'images')
    return Description(f'proposal embeddings of {number}', details)
