"""Fine-tunes a small BERT on film reviews, measures, answers and exports it: python examples/reviews.py

The data are fetched the first time, see kerasft/data/film_snippets.py.
"""

import kerasft

TRAIN = {"name": "film_snippets", "split": "train"}
TEST = {"name": "film_snippets", "split": "test"}


def main(backbone="starter:minilm_l6_en", train=TRAIN, test=TEST, epochs=2):
    tuner = kerasft.FineTuner(task="text_classification", backbone=backbone, method="full", name="reviews")
    history = tuner.fit(train, validation_split=0.1, epochs=epochs)
    print("validation accuracy of each epoch:", history.history["val_accuracy"])

    for metric, estimate in tuner.evaluate(test).items():
        print(f"{metric:28} {estimate}")

    sentences = ["A gorgeous, witty film that stays with you.", "A dull, lifeless bore from start to finish."]
    answers = tuner.predict(sentences)
    for sentence, label, score in zip(sentences, answers["label"], answers["score"], strict=True):
        print(f"{label.decode()} {score:.2f}  {sentence}")

    # Everything inside is a Keras object: go on with it as you like.
    tuner.model.summary()
    print("exported to", tuner.export(f"{tuner.directory}/export/1"))


if __name__ == "__main__":
    main()
