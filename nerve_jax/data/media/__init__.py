"""Files of several frames, and of one in DICOM: what each says of itself, and its frames.

`describe` looks at a file without decoding it, and finds all that can be wrong before
the first frame; `read` and `read_colour` then decode frame by frame, so that memory does
not grow with a clip's length.
"""

from nerve_jax.data.media.kinds import describe as describe
from nerve_jax.data.media.kinds import find_kind as find_kind
from nerve_jax.data.media.kinds import name_of as name_of
from nerve_jax.data.media.kinds import read as read
from nerve_jax.data.media.kinds import read_brightest as read_brightest
from nerve_jax.data.media.kinds import read_colour as read_colour
from nerve_jax.data.media.medium import Box as Box
from nerve_jax.data.media.medium import Medium as Medium
