"""The one place that knows of class names that are spelled in two ways."""

# Mistakes in the names of Objects365 v2, in its files and mmdet's list, as
# DetPro mended them.
MISTAKES = {
    'Moniter/TV': 'Monitor/TV',
    'Bakset': 'Basket',
    'Ballon': 'Balloon',
    'Billards': 'Billiards',
    'Cigar/Cigarette ': 'Cigar/Cigarette',
    'Extention Cord': 'Extension Cord',
    'Hotair ballon': 'Hot-air balloon',
    'Mushroon': 'Mushroom',
    'Tape Measur/ Ruler': 'Tape Measure/Ruler',
    'Campel': 'Camel',
    'Formula 1 ': 'Formula 1',
    'Buttefly': 'Butterfly',
    'Table Teniis paddle': 'Table Tennis paddle',
    'Table Tennis ': 'Table Tennis',
}

# As some write it -> the one spelling that names are compared in.
SPELLINGS = {
    # mmdet's list of LVIS names, and class embeddings made from it; LVIS's
    # own files say "stero".
    'speaker_(stereo_equipment)': 'speaker_(stero_equipment)',
    **MISTAKES,
}


def canonical_spelling(name: str) -> str:
    """Return a class name in the one spelling that stands for all of them.

    Names are compared in it wherever those of a dataset meet those of a
    config or of class embeddings.
    """
    return SPELLINGS.get(name, name)


def mended_spelling(name: str) -> str:
    """Return a class name as sentences for CLIP should say it.

    Both spellings of LVIS's speaker stay: published class embeddings were
    made from the one and from the other.
    """
    return MISTAKES.get(name, name).strip()
