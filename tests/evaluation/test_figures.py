import io
import warnings

import matplotlib.pyplot
import numpy as np
import pytest
from PIL import Image

from kerasft.evaluation import figures


@pytest.mark.parametrize("classes", [2, 12, 60])
def test_png_of_a_confusion_matrix(classes):
    confusion = np.random.default_rng(0).integers(5, size=(classes, classes))
    confusion[0] = 0  # a class without an example
    image = Image.open(
        io.BytesIO(figures.to_png(figures.confusion_figure(confusion, [f"c{i}" for i in range(classes)])))
    )
    assert image.format == "PNG"
    assert image.width == image.height


def test_shades_are_shares_of_the_row():
    figure = figures.confusion_figure([[3, 1], [0, 10]], ["a", "b"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "10"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")


def test_labels_are_no_formulas():
    assert figures.to_png(figures.confusion_figure([[1, 0], [0, 1]], ["$100", "$\\frac{"]))


def test_letters_that_the_font_lacks_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures.to_png(figures.confusion_figure([[1, 0], [0, 1]], ["日本", "中国"]))


def test_pyplot_knows_nothing_of_it():
    figures.confusion_figure([[1]], ["a"])
    assert matplotlib.pyplot.get_fignums() == []
