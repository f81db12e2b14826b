"""The work of ``tools/image_demo.py``."""

import json
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

import numpy as np
from tqdm import tqdm

from ovd.artifacts.files import PathLike, atomic_write

from .demo_files import check_outputs, name_outputs
from .detections import Detections, merge_coco
from .drawing import render_detections, save_picture
from .image_sources import SourceImage, describe_left_out, list_images
from .open_vocabulary_detector import OpenVocabularyDetector
from .video import atomic_video, frame_rate, is_video, open_video

# Fewer frames than a video says there are; some only guess their number.
WHOLE = 0.9


class Drawn(List[Path]):
    """The pictures, or the video, that were written.

    Args:
        passed_over (dict[str, str]): File that could not be read -> why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed_over: Dict[str, str] = {}

    def pass_over(self, path: PathLike, error: object) -> None:
        """Name a file that could not be read."""
        self.passed_over[str(path)] = str(error)
        tqdm.write(f'passed over: {error}')


def detect_and_draw(
    image: str,
    config: PathLike,
    checkpoint: PathLike,
    texts: Optional[Sequence[str]] = None,
    score_thr: float = 0.3,
    out_dir: PathLike = 'work_dirs/image_demo',
    coco_json: Optional[PathLike] = None,
    show_masks: Optional[bool] = None,
    batch_size: int = 4,
    device: str = 'auto',
) -> Drawn:
    """Detect ``texts`` in images or a video; write pictures of what is found.

    Of boxes that overlap, the one with the best score is drawn. Files that
    can't be read are named and passed over, and what else is in a folder is
    counted.

    Args:
        image (str): Image file, folder of images, pattern (``*.jpg``), or
            video.
        config (PathLike): Config file.
        checkpoint (PathLike): Checkpoint, or folder of a training run.
        texts (Sequence[str], optional): Class names; None for those of the
            config.
        score_thr (float): Draw nothing that scores lower. Defaults to 0.3.
        out_dir (PathLike): Folder of the pictures; see :func:`name_outputs`.
        coco_json (PathLike, optional): Where to write what was drawn; see
            :meth:`Detections.to_coco`. A frame of a video has the file name
            ``VIDEO#NUMBER``, from 1 on.
        show_masks (bool, optional): Whether to tint masks. Defaults to where
            the detector makes them.
        batch_size (int): Most images that are read and go through the
            network together. Defaults to 4.
        device (str): See :class:`OpenVocabularyDetector`.

    Returns:
        Drawn: The pictures, a list.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If a picture would replace an image or another picture,
            masks are wanted of a detector that makes none, or a number is
            out of range.
    """
    if batch_size < 1:
        raise ValueError(f'the batch size must be positive, got {batch_size}')
    video = is_video(image)
    if left_out := describe_left_out(image):
        print(left_out)
    images = [Path(image)] if video else list_images(image)
    pictures = name_outputs(images, out_dir, '.mp4' if video else '.png')
    check_outputs(pictures, images, out_dir, coco_json)
    detector = OpenVocabularyDetector(config, checkpoint, device)
    if show_masks and not detector.model.with_mask:
        raise ValueError(f'the detector of {config} makes no masks to show')
    if texts is not None:
        detector.set_classes(texts)
    drawn = Drawn()
    draw = _draw_video if video else _draw_images
    parts = draw(
        detector,
        images,
        pictures,
        score_thr,
        show_masks is not False,
        batch_size,
        drawn,
    )
    if coco_json is None:  # nothing is kept of what was drawn
        for _ in parts:
            pass
    else:
        content = merge_coco(found.to_coco() for found in parts)
        content['categories'] = (
            content['categories']
            or Detections([], detector.classes).to_coco()['categories']
        )
        with atomic_write(coco_json, 'w') as file:
            json.dump(content, file)
        print(coco_json)
    print(*drawn, sep='\n')
    return drawn


def _draw_images(
    detector: OpenVocabularyDetector,
    images: Sequence[Path],
    pictures: Sequence[Path],
    score_thr: float,
    show_masks: bool,
    batch_size: int,
    drawn: Drawn,
) -> Iterator[Detections]:
    """Draw what is in images, and yield it."""
    pairs = zip(tqdm(images, desc='detecting', unit='image'), pictures)
    while batch := [*islice(pairs, batch_size)]:
        read: Dict[Path, SourceImage] = {}
        for path, picture in batch:
            try:
                read[picture] = detector.read(path)
            except (ValueError, OSError) as error:
                drawn.pass_over(path, error)
        found = _detect(detector, [*read.values()], score_thr, batch_size)
        for sample, (picture, image) in zip(found, read.items()):
            save_picture(
                render_detections(
                    image.rgb, sample, found.classes, show_masks
                ),
                picture,
            )
            drawn.append(picture)
            one = sample.pred_instances
            assert image.path is not None  # it was read from there
            for label, score in zip(one.labels.tolist(), one.scores.tolist()):
                tqdm.write(
                    f'{Path(image.path).name}: '
                    f'{found.classes[label]} {score:.2f}'
                )
        yield found


def _draw_video(
    detector: OpenVocabularyDetector,
    videos: Sequence[Path],
    pictures: Sequence[Path],
    score_thr: float,
    show_masks: bool,
    batch_size: int,
    drawn: Drawn,
) -> Iterator[Detections]:
    """Draw what is in the frames of one video, and yield it."""
    (path,), (picture,) = videos, pictures
    try:
        reader = open_video(path)
    except ValueError as error:
        drawn.pass_over(path, error)
        return
    number = 0
    with ExitStack() as stack:
        write = stack.enter_context(atomic_video(picture, frame_rate(reader)))
        frames = iter(
            tqdm(
                reader, desc='detecting', unit='frame', total=reader.frame_cnt
            )
        )
        while batch := [*islice(frames, batch_size)]:
            found = _detect(detector, batch, score_thr, batch_size)
            for frame, sample in zip(batch, found):
                number += 1
                sample.set_metainfo(dict(img_path=f'{path}#{number}'))
                write(
                    np.asarray(
                        render_detections(
                            SourceImage(frame).rgb,
                            sample,
                            found.classes,
                            show_masks,
                        )
                    )
                )
            yield found
    if number:
        drawn.append(picture)
    if number < max(WHOLE * reader.frame_cnt, 1):
        drawn.pass_over(
            path,
            f'only {number} of the {reader.frame_cnt} '
            f'frames of {path} can be read',
        )


def _detect(
    detector: OpenVocabularyDetector,
    images: Sequence,
    score_thr: float,
    batch_size: int,
) -> Detections:
    return detector.predict(
        images, score_thr, batch_size=batch_size
    ).one_per_object()
