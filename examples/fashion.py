"""First a linear layer on frozen features, then the whole EfficientNet: python examples/fashion.py <folder>

The folder holds Fashion-MNIST, the four .gz files of https://github.com/zalandoresearch/fashion-mnist; the Debian
package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist.
"""

import sys

import kerasft

NAMES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def main(folder, backbone="starter:efficientnet_lite0_imagenet", limit=5000, image_size=96, epochs=2):
    train, test = ({"name": "idx", "path": folder, "split": split, "limit": limit} for split in ("train", "test"))
    for method in ("linear_probe", "full"):
        tuner = kerasft.FineTuner(
            task="image_classification",
            backbone=backbone,
            method=method,
            image_size=image_size,
            name=f"fashion_{method}",
        )
        tuner.fit(train, validation_split=0.1, epochs=epochs)
        print(method, "test accuracy", tuner.evaluate(test)["accuracy"])

    number = tuner.predict(test | {"limit": 1})["label"][0].decode()
    print("the first test image is a", NAMES[int(number)])


if __name__ == "__main__":
    main(sys.argv[1])
