import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from kerasft import FineTuner, UserError
from kerasft import load as load_run
from kerasft.presets import base, keras_file


def functional(seed=0):
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="block1_conv")(x)
    x = keras.layers.BatchNormalization(name="block1_bn")(x)
    x = keras.layers.Activation(keras.activations.gelu)(x)
    return keras.Model(pixels, x, name="mine")


@pytest.fixture(params=[".keras", ".h5", ".hdf5"])
def saved(request, tmp_path):
    model = functional()
    path = tmp_path / f"model{request.param}"
    model.save(path)
    return model, path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_functional_image_model_comes_back(saved):
    model, path = saved
    found = base.resolve(str(path))
    assert (found.name, found.modality, tuple(found.converter.image_size)) == ("mine", "image", (32, 32))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(found.backbone(pixels), model(pixels), atol=1e-6)
    assert base.resolve(path).name == base.resolve(f"keras_file:{path}").name == "mine"
    assert keras_file.load(str(path), weights=False).backbone.count_params() == model.count_params()


def test_operations_and_a_loss_of_its_owner_do_no_harm(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    def own_loss(y, predicted):
        return keras.ops.mean(predicted)

    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.ops.tanh(keras.layers.Conv2D(4, 3)(pixels) * 2 + 1))
    model.compile("sgd", own_loss)
    model.fit(np.zeros((1, 8, 8, 3)), np.zeros((1, 6, 6, 4)), verbose=0)
    model.save(tmp_path / "model.keras")
    found = base.resolve(str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(found.backbone.get_weights()[0], model.get_weights()[0])


def test_it_is_fine_tuned_saved_and_loaded(png_images, tmp_path):
    functional().save(tmp_path / "model.keras")
    tuner = FineTuner("image_classification", str(tmp_path / "model.keras"), "linear_probe", labels=["dark", "light"])
    tuner.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    images, _ = png_images
    np.testing.assert_allclose(again.predict(images)["score"], tuner.predict(images)["score"], atol=1e-6)


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".pkl", ".ckpt", ".pb", ".npz", ".joblib"])
def test_other_formats_are_refused_by_name(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=rf"may run code.*give the object: backbone=model.*Received: .*{ending}'$"):
        base.resolve(str(path))


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="There is no such file. Received: .*nothing.keras'$"):
        base.resolve(str(tmp_path / "nothing.keras"))
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(UserError, match="There is no such file"):
        base.resolve(str(tmp_path / "folder.keras"))


def test_a_saved_model_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UserError, match="A SavedModel may run any operation.*backbone=model.*Received"):
        base.resolve(str(tmp_path))


def test_weights_alone_are_refused(tmp_path):
    functional().save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(UserError, match="holds no whole model.*Received"):
        base.resolve(str(tmp_path / "model.weights.h5"))


def test_a_model_of_text_needs_its_tokenizer(tmp_path):
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    keras.Model({"token_ids": ids}, keras.layers.Embedding(9, 4)(ids)).save(tmp_path / "text.keras")
    with pytest.raises(UserError, match="needs its tokenizer"):
        base.resolve(str(tmp_path / "text.keras"))


def test_a_model_of_several_outputs_is_refused(tmp_path):
    pixels = keras.Input((8, 8, 3))
    layer = keras.layers.Dense(4)
    keras.Model(pixels, [layer(pixels), keras.layers.Dense(2)(pixels)]).save(tmp_path / "two.keras")
    with pytest.raises(UserError, match="must have one output.*Received: .*4.*2"):
        base.resolve(str(tmp_path / "two.keras"))


def test_a_size_that_is_not_stored_is_refused_before_memory_is_taken(tmp_path):
    pixels = keras.Input((32, 32, 3))
    keras.Model(pixels, keras.layers.Dense(8)(pixels)).save(tmp_path / "model.keras")
    path = tmp_path / "huge.keras"
    with zipfile.ZipFile(tmp_path / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = content.replace(b'"units": 8', b'"units": 800000000')
            new.writestr(name, content)
    with pytest.raises(UserError, match="a model of 3,200,000,000 weights, and .* files of 32. Received.*800000000"):
        base.resolve(str(path))


def test_a_class_of_ones_own_is_refused_in_both_formats(tmp_path):
    functional().save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1] = {"class_name": "Lambda", "config": {}, "name": "l", "inbound_nodes": []}
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UserError, match="Lambda runs code.*give the object: backbone=model. Received: Lambda"):
        base.resolve(str(tmp_path / "model.h5"))
