"""Proposals of other programs become files that name their images."""

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ovd.artifacts.files import PathLike, require_file, sha256_file
from ovd.artifacts.proposal_pickle import check_rows, name_rows, read_pickle
from ovd.artifacts.proposals import (
    Proposals,
    check_suffix,
    load_proposals,
    save_proposals,
)
from ovd.artifacts.provenance import check_same_source
from ovd.artifacts.seen_classes import UNKNOWN
from ovd.datasets.gzsl_header import describe_annotations
from ovd.suggest import check_choice

from .proposal_order import ORDERS, ImageTable, find_order, measure_extents


def convert_proposals(
    file: PathLike,
    out: PathLike,
    ann_file: PathLike,
    order: str = 'auto',
    folder: Optional[str] = None,
) -> Path:
    """Write proposals of any known form as one of ours, all boxes checked.

    Args:
        file (PathLike): mmdet 2.x's list of (P, 5) arrays, mmdet 3.x's dict,
            or one of our two forms.
        out (PathLike): ``.pkl`` or ``.safetensors`` to write.
        ann_file (PathLike): Annotation file that the proposals were made for.
        order (str): Whose boxes the entries of a list are: ``'file'``, by the
            order of the images in the annotation file, or ``'id'``, by
            ascending id; ``'auto'`` takes the one in which all boxes lie in
            their images.
        folder (str, optional): Folder of the images, where the annotation
            file does not say it.

    Returns:
        Path: The file that was written.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the proposals are malformed or for other images, or
            the order is not clear.
    """
    check_choice(order, ('auto', *ORDERS), '--order')
    check_suffix(out)
    path = require_file(file, 'proposals file')
    if Path(out).resolve() == path.resolve():
        raise ValueError(
            f'{out} is the file to convert: give another one to write'
        )
    images = ImageTable(ann_file, folder)
    annotations = describe_annotations(ann_file)
    found, settings = _read(path, images, order)
    made_for = found.provenance.setdefault('annotations', annotations)
    check_same_source(
        annotations, made_for, f'--ann-file {ann_file}', f'{path}'
    )
    _check_inside(found, images)
    origin = dict(file=path.name, sha256=sha256_file(path), **settings)
    provenance: Dict[str, Any] = dict(
        dict(trained_on=UNKNOWN), **found.provenance
    )
    provenance['converted_from'] = origin
    save_proposals(out, found, provenance)
    print(
        f'{path}: {origin["form"]}'
        + (f', in {ORDERS[origin["order"]]}' if 'order' in origin else '')
    )
    if provenance['trained_on'] == UNKNOWN:
        print(
            'which classes their RPN was trained on is not known; one that '
            'was trained on all of them has seen novel boxes'
        )
    extra = len(found) - len(images.keys)
    if extra:
        print(
            f'{extra:,} of its images are not in {ann_file}: kept, their '
            'boxes are not checked'
        )
    print(f'{out}: {found.num_boxes:,} proposals of {len(found):,} images')
    return Path(out)


def _read(
    path: Path, images: ImageTable, order: str
) -> Tuple[Proposals, Dict[str, str]]:
    """Return proposals, and what is to be noted of their form."""
    if check_suffix(path) == '.pkl':
        content, provenance = read_pickle(path)
        if isinstance(content, list):
            check_rows(content, str(path))
            order = find_order(content, images, order, str(path))
            keys = [images.keys[i] for i in images.orders[order]]
            return Proposals.pack(
                name_rows(content, keys), {}, str(path)
            ), dict(form="mmdet 2.x's list", order=order)
        found = Proposals.pack(content, provenance, str(path))
        form = 'a dict' if provenance else "mmdet 3.x's dict"
    else:
        found, form = load_proposals(path), 'named arrays'
    if order != 'auto':
        raise ValueError(f'{path} names its images: leave out --order')
    return found, dict(form=form)


def _check_inside(found: Proposals, images: ImageTable) -> None:
    """Raise unless all images have proposals, which lie in them."""
    found.check_covers(images.keys, images.ann_file)
    fault = images.find_outside(
        measure_extents(
            (found[key]['bboxes'] for key in images.keys), len(images.keys)
        )
    )
    if fault:
        raise ValueError(
            f'{found.source} holds proposals for other images: {fault}'
        )
