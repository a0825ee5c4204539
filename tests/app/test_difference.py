"""What differs between two pictures, where it is known."""

import numpy as np

from speech2face.app.difference import DARKER, LIGHTER, SAME, difference


def grey(level: int) -> np.ndarray:
    return np.full((90, 60, 3), level, np.uint8)


def test_like_pictures_are_alike():
    found = difference(grey(100), grey(100))
    assert found.words == ["The two pictures are alike."]
    assert (found.picture == SAME).all()


def test_rounding_errors_are_not_made_large():
    other = grey(100)
    other[::2] += 1
    assert np.abs(difference(other, grey(100)).picture - SAME).max() < 64


def test_what_is_lighter_is_orange_and_what_is_darker_is_blue():
    picture = grey(100)
    picture[:30], picture[60:] = 40, 160
    found = difference(picture, grey(100))
    assert found.levels == 60
    assert (found.picture[:30] == DARKER).all() and (found.picture[60:] == LIGHTER).all()
    assert (found.picture[30:60] == SAME).all()
    assert "by 40 of 255 levels" in found.words[0] and "by 60 or more" in found.words[0]
    assert found.words[2] == "As a whole the picture is as light as the mean face."


def test_half_the_difference_has_half_the_colour():
    picture = grey(100)
    picture[:45], picture[45:] = 120, 110
    halfway = difference(picture, grey(100)).picture[80, 30]
    np.testing.assert_allclose(halfway, (SAME + LIGHTER) / 2, atol=1)


def test_the_words_say_where_most_of_it_is_and_how_light_the_whole_is():
    picture = grey(100)
    picture[60:] -= 30
    assert difference(picture, grey(100)).words[1:] == [
        "100 % of the difference is in the lower third of the picture.",
        "As a whole the picture is 10 levels darker than the mean face.",
    ]
    assert difference(grey(101), grey(100)).words[2] == "As a whole the picture is 1 level lighter than the mean face."
