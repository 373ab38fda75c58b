import pytest

from kerasft.errors import UserError
from kerasft.inspection import config


@pytest.mark.parametrize(
    "named",
    [
        {"module": "keras.layers", "class_name": "Dense", "registered_name": None},
        {"module": "keras.src.ops.numpy", "class_name": "Add", "registered_name": "Add"},
        {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"},
        {"module": "keras.src.applications.convnext", "class_name": "LayerScale", "registered_name": "LayerScale"},
        {"module": "keras", "class_name": "DTypePolicy"},
        {"module": "keras_hub.src.models.bert.bert_backbone", "registered_name": "keras_hub>BertBackbone"},
        {"module": "keras_cv.src.models", "class_name": "X", "registered_name": "keras_cv.models>X"},
        {"module": "kerasft.presets._bert", "class_name": "X", "registered_name": "kerasft>ExactBertBackbone"},
        {"module": "builtins", "class_name": "function", "config": "gelu", "registered_name": "function"},
        {"class_name": "__keras_tensor__", "config": {"shape": [None, 8], "keras_history": ["a", 0, 0]}},
        {"class_name": "Conv2D", "config": {"name": "block1/conv", "vocabulary": ["/", "~"], "equation": "ab,bc->ac"}},
        {"class_name": "T", "config": {"vocabulary": None, "unk_token": "</s>", "class_name": None}},
    ],
)
def test_what_keras_and_its_companions_write_passes(named):
    config.check({"class_name": "Functional", "config": {"layers": [{"config": {}, **named}]}}, "config.json")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"module": "keras.layers", "class_name": "Lambda"}, "Lambda runs code .*give the object: backbone=model"),
        ({"class_name": "__lambda__"}, "__lambda__ runs code"),
        ({"registered_name": "Custom>Lambda"}, "Lambda runs code"),
        ({"module": "os", "class_name": "function", "config": "system"}, "only modules of Keras.*Received: os$"),
        ({"module": "keras.utils", "class_name": "get_file"}, "only modules.*Received: keras.utils$"),
        ({"module": "keras.models", "class_name": "function", "config": "clone_model"}, "builds models"),
        ({"module": "keras_hub_evil", "class_name": "X"}, "only modules"),
        ({"module": "keras.layers\n", "class_name": "X"}, "only modules"),
        ({"registered_name": "Custom>Mine"}, "only classes of keras, .*Received: Custom>Mine"),
        ({"config": {"vocabulary": "v.txt"}}, r"names no files \(vocabulary\)"),
        ({"config": {"anything": "https://a.b/c"}}, r"names no files \(anything\)"),
        ({"config": {"name": "a/../b"}}, "a name has no"),
        ({"config": {"name": "n" * 1001}}, "a name has no"),
        ({"config": {"layers": [{}] * 10_001}}, "10,000 layers at most"),
    ],
)
def test_the_rest_is_refused(named, message):
    with pytest.raises(UserError, match=f"config.json: .*{message}"):
        config.check({"class_name": "Functional", "config": {"layers": [named]}}, "config.json")


def test_blocks_are_counted_against_arrays():
    config.check_counts(
        {"num_layers": 12, "depths": [2, 9], "rope_max_wavelength": 10**6, "max_window_layers": 28}, 12, "config.json"
    )
    for found in ({"num_layers": 13}, {"config": {"stackwise_num_repeats": [1, 13]}}, {"num_hidden_layers": 1e9}):
        with pytest.raises(UserError, match="there are only 12 arrays of weights. Received: "):
            config.check_counts(found, 12, "config.json")


def test_sizes_of_a_method_are_sides_of_its_weights():
    method = {"name": "lora", "rank": 8, "alpha": 10**6}
    config.check_sides(method, [(4, 8), (2,)], "recipe.yaml")
    with pytest.raises(UserError, match="longer than 7. Received: rank=8"):
        config.check_sides([{"stages": [{"method": method}]}], [(7,)], "recipe.yaml")
