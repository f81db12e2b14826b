"""The one place that knows of class names that are spelled in two ways."""

# As others write it -> as the annotation files have it, which is what
# datasets, artefacts and detectors go by.
SPELLINGS = {
    # mmdet's list of LVIS names, and class embeddings made from it
    'speaker_(stereo_equipment)': 'speaker_(stero_equipment)',
}


def annotation_spelling(name: str) -> str:
    """Return a class name as annotation files spell it.

    Names are compared in this spelling wherever those of a dataset meet those
    of a config or of class embeddings.
    """
    return SPELLINGS.get(name, name)
