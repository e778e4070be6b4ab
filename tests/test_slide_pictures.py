"""Pictures of a slide: what their legend can say."""

import numpy as np
import pytest

from cellularity_core.slides.pictures import Pixels, heat_picture


def legend(line: str) -> Pixels:
    one = np.zeros((1, 1), np.float32)
    shown = np.zeros((8, 8, 3), np.uint8)
    return heat_picture(shown, np.ones((8, 8), bool), one, one, 8, "x", (line,))[:, 8:]


@pytest.mark.parametrize("letters", ["µ", "×", "ż", "Я"])
def test_a_legend_has_letters_in_the_place_of_boxes(letters: str) -> None:
    assert (legend(letters) != legend("\U0010fffd")).any()
