"""Names of structures and readers."""

import re
import unicodedata

NERVE = "nerve"  # the structure of masks that name none
READER = "reader1"  # who outlined, where there is one reader
# Names that no reader has: they stand for all of them, and for what is held against them.
OF_ALL, MODEL = "mean", "model"


def name_structure(text: str) -> str:
    """The name of a structure or a reader, as it is written everywhere: [a-z][a-z0-9_]*.

    Capitals become small, accents are dropped, and whatever is neither letter nor digit
    becomes "_": "N. ulnaris" is n_ulnaris. "" where no letter begins the name.
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore")
    name = re.sub(r"[^a-z0-9]+", "_", plain.decode()).strip("_")
    return name if name[:1].isalpha() else ""
