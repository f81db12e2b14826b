"""Boxes in pixels of an image's file need the image as the file has it."""


def check_original_frame(results: dict, name: str) -> None:
    """Raise if an image was resized, flipped or cropped before a transform.

    Args:
        results (dict): Of a pipeline; the host's transforms note there how
            they move pixels.
        name (str): The transform that gives boxes of the original image.

    Raises:
        ValueError: If so.
    """
    if results.get('homography_matrix') is not None:
        raise ValueError(
            f'image {results.get("img_id")} was moved (resized, flipped or '
            f'cropped) before {name}, whose boxes are those of the original '
            'image: put it before such transforms, and these into '
            'ProposalBroadcaster'
        )
