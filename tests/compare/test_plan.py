import pytest

from kerasft.compare import plan
from kerasft.errors import UserError


def names(made):
    return [variant.name for variant in made.variants]


def test_a_list_of_names_and_dicts():
    assert plan.parse("full,lora,{name: lora, rank: 32}", "--methods") == ["full", "lora", {"name": "lora", "rank": 32}]
    assert plan.parse("", "--methods") == []
    for text in ("full,[lora]", "3"):
        with pytest.raises(UserError, match="--methods is a list of names or .* Received: "):
            plan.parse(text, "--methods")
    with pytest.raises(UserError, match="--methods, line 1"):
        plan.parse("{name: lora", "--methods")


def test_methods_have_the_recipe_s_budget_and_their_own_learning_rate(recipe, test_data):
    made = plan.make(recipe, ["full", "lora", {"name": "lora", "rank": 2}], seeds=2, test=test_data)
    assert names(made) == ["full", "lora", "lora rank=2"]
    assert [variant.slug for variant in made.variants] == ["full", "lora", "lora_rank_2"]
    full, lora, _ = (variant.recipe for variant in made.variants)
    assert full == recipe | {"method": "full"}
    assert lora == {key: value for key, value in recipe.items() if key != "learning_rate"} | {"method": "lora"}
    assert made.notes == [
        "The recipe's learning rate, 0.01, is for full; lora, lora rank=2 had the default of the method."
    ]
    assert (made.seeds, made.test, made.held_back) == ([0, 1], test_data, {})
    assert made.scored_on == "test data, test.csv (16 examples)"


def test_the_rate_stays_with_the_recipe_s_method_whatever_its_arguments(recipe, test_data):
    recipe["method"] = {"name": "lora", "rank": 4}
    made = plan.make(recipe, ["lora", "full"], test=test_data)
    assert ["learning_rate" in variant.recipe for variant in made.variants] == [True, False]


def test_objectives_are_compared_with_the_method_alone(recipe, test_data):
    recipe |= {"method": "lora", "objectives": ["l2_sp"]}
    made = plan.make(recipe, objectives=[{"name": "l2_sp", "alpha": 0.1}], test=test_data)
    assert names(made) == ["lora", "lora + l2_sp alpha=0.1"]
    assert "objectives" not in made.variants[0].recipe
    assert made.variants[1].recipe["objectives"] == [{"name": "l2_sp", "alpha": 0.1}]
    assert all(variant.recipe["learning_rate"] == 0.01 for variant in made.variants)
    both = plan.make(recipe | {"objectives": []}, ["lora", "full"], ["l2_sp"], test=test_data)
    assert names(both) == ["lora", "full", "lora + l2_sp"]
    kept = plan.make(recipe, ["lora", "full"], test=test_data)
    assert names(kept) == ["lora + l2_sp", "full + l2_sp"]


def test_data_of_an_objective_are_told_by_their_path(recipe, test_data):
    more = {"name": "csv", "path": "more/rows.csv", "separator": ";"}
    made = plan.make(recipe, objectives=[{"name": "pseudo_labels", "data": more}], test=test_data)
    assert names(made)[1].endswith(" + pseudo_labels data=more/rows.csv")


def test_all_errors_at_once(recipe):
    with pytest.raises(UserError) as caught:
        plan.make(recipe, ["full", "lorra", {"name": "lora", "rnk": 2}, {"name": "lora", "rank": 0}])
    first, second, third = str(caught.value).splitlines()
    assert "Did you mean 'lora'?" in first
    assert second.startswith("lora rnk=2: method.rnk: there is no such argument. Did you mean 'rank'?")
    assert third == "lora: rank must be a whole number, 1 or more. Received: rank=0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ["full"]}, "Name two variants at least, .* Received: full"),
        ({}, "Name two variants at least, .* Received: none"),
        ({"methods": ["full", "lora", "full"]}, "A variant is named twice. Received: 'full'"),
        ({"methods": ["full", "lora"], "seeds": 0}, "Received: seeds=0"),
        ({"methods": ["full", "lora"], "test": "nowhere.csv"}, "There is no file 'nowhere.csv'"),
        ({"methods": ["full", "lora"], "test": [{"text": "a", "label": "maybe"}] * 2}, "maybe"),
        ({"methods": ["full", "lora"], "test": [{"text": "good", "label": "positive"}]}, "Received: 1 examples"),
    ],
)
def test_what_cannot_be_is_refused(recipe, given, message):
    with pytest.raises(UserError, match=message):
        plan.make(recipe, **given)


def test_without_test_data_all_seeds_hold_back_the_same(recipe):
    made = plan.make(recipe | {"seed": 5}, ["full", "lora"])
    held, train = made.held_back["validation_data"], made.held_back["data"]
    assert (len(train), len(held), made.examples) == (12, 4, 4)
    assert set(train.index) | set(held.index) == set(range(1, 17))
    assert made.test is held
    assert made.seeds == [5, 6, 7]
    assert made.scored_on == "validation data, 25% held back of train.csv (4 examples)"
    assert made.notes[-1].startswith("Each run kept the epoch that was best on the same examples")


def test_validation_data_are_scored_on_as_they_are(recipe, test_data):
    del recipe["validation_split"]
    made = plan.make(recipe | {"validation_data": test_data}, ["full", "lora"])
    assert (made.test, made.held_back, made.scored_on) == (test_data, {}, "validation data, test.csv (16 examples)")
    with pytest.raises(UserError, match="give --test, validation_data or validation_split"):
        plan.make(recipe, ["full", "lora"])


def test_a_task_without_scores_of_examples_is_refused(recipe, monkeypatch):
    monkeypatch.delattr("kerasft.evaluation.classification.example_scores")
    with pytest.raises(UserError, match="kerasft.evaluation.classification has no example_scores"):
        plan.make(recipe, ["full", "lora"])
