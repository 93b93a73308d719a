import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from nerve_jax.reports import html


def test_text_is_escaped_and_a_missing_name_is_an_error():
    found = {"presence_by_subject": {"<script>": [1, 2]}, "sizes": {}}
    with pytest.raises(jinja2.UndefinedError):
        html.render("audit.html", title="<b>", audit=found)
    page = html.render("base.html", title="<script>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_numbers_that_are_not_there_are_dashes():
    assert html.show_number(float("nan")) == html.show_number(None) == "–"
    assert html.show_number(0.12345) == "0.123"
    scores = {"a": 0.01, "b": -0.02, "intervals": {"a": (0.0, 0.02)}}
    assert html.show_gain("a", scores) == "+0.0100 (+0.0000 to +0.0200)"
    assert html.show_gain("b", scores) == "-0.0200 (no interval)"


def test_pictures_have_one_width_and_their_frames_shape():
    image, mask = np.full((50, 100), 90, np.uint8), np.zeros((50, 100), bool)
    mask[10:30, 20:60] = True
    kind, content = html.picture_uri(image, truth=mask).split(",")
    assert kind == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert picture.size == (html.PICTURE_WIDTH_PX, html.PICTURE_WIDTH_PX // 2)
    colours = np.asarray(picture).astype(int)
    assert (np.ptp(colours, axis=-1) > 100).any()  # the outline, not grey
