import pytest

from kerasft import weights
from kerasft.errors import UserError
from kerasft.methods import GradualUnfreeze
from kerasft.model import FineTunedModel
from kerasft.tasks._head import PooledHead
from tests import families


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def learning(model):
    return {layer.name for layer in model.backbone_layers if layer.trainable_weights}


TOP, BOTTOM = {"transformer_layer_1"}, {"transformer_layer_0"}
EMBEDDINGS = {"token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm"}


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, [(1, TOP | BOTTOM | EMBEDDINGS)]),
        (2, [(1, TOP | BOTTOM), (1, TOP | BOTTOM | EMBEDDINGS)]),
        (3, [(1, TOP), (1, TOP | BOTTOM), (1, TOP | BOTTOM | EMBEDDINGS)]),
        (5, [(1, TOP), (1, TOP | BOTTOM), (3, TOP | BOTTOM | EMBEDDINGS)]),
    ],
)
def test_the_stages(model, epochs, expected):
    found = []
    for stage in GradualUnfreeze().stages(model, epochs):
        stage.apply(model)
        assert len(model.head.trainable_weights) == 2
        found.append((stage.epochs, learning(model)))
    assert found == expected
    assert [stage.continues for stage in GradualUnfreeze().stages(model, 3)] == [False, True, True]


def test_the_rates_fall_downwards(model):
    rates = GradualUnfreeze(layer_decay=0.5).rates(model)
    assert rates["transformer_layer_1/feedforward_output_dense/kernel"] == 0.5
    assert rates["transformer_layer_0/self_attention_layer/query/bias"] == 0.25
    assert rates["token_embedding/embeddings"] == 0.125
    assert not any(path.startswith("head/") for path in rates)


def test_layers_whose_weights_have_one_path_have_rates_of_their_own():
    model = FineTunedModel(families.make("smollm3").backbone, PooledHead(2, ("tokens", "mask"), "last"))
    rates, named = GradualUnfreeze(layer_decay=0.5).rates(model), weights.by_path(model)
    lower, upper = ({id(v) for v in model.get_layer(f"transformer_layer_{n}").weights} for n in range(2))
    assert {rates[path] for path, variable in named.items() if id(variable) in upper} == {0.5}
    assert {rates[path] for path, variable in named.items() if id(variable) in lower} == {0.25}
    assert {named[path].path for path in ("o_proj/kernel", "o_proj/kernel#2")} == {"o_proj/kernel"}


def test_what_follows_the_last_block_goes_with_it():
    model = FineTunedModel(families.make("llama").backbone, PooledHead(2, ("tokens", "mask"), "last"))
    GradualUnfreeze().stages(model, 3)[0].apply(model)
    assert learning(model) == {"transformer_layer_1", "sequence_output_layernorm"}


@pytest.mark.parametrize("decay", [0, 1.5, "0.9", None])
def test_arguments_out_of_range(decay):
    with pytest.raises(UserError, match=f"Received: layer_decay={decay!r}"):
        GradualUnfreeze(layer_decay=decay)
