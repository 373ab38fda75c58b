"""As many mutated files as fit into some seconds; `python -m tests.faults.fuzz --mutations 100000` takes more."""

import random
import time

from tests.faults import fuzz, hostile
from tests.faults.whole import Whole

SECONDS = 12


def test_a_mutated_file_is_read_or_refused(tmp_path):
    made = Whole(tmp_path / "whole")
    hostile.warm_up(made)
    counts, problems = fuzz.run(made, tmp_path, range(500), until=time.monotonic() + SECONDS)
    assert not problems
    assert sum(opened for opened, _ in counts.values()) > 50


def test_a_mutation_is_a_change_and_a_seed_makes_the_same():
    value = {"a": [1, {"b": "c"}], "d": None}
    made = [fuzz.mutated(value, random.Random(seed)) for seed in range(50)]
    assert made == [fuzz.mutated(value, random.Random(seed)) for seed in range(50)]
    assert sum(one != value for one in made) > 40 and value == {"a": [1, {"b": "c"}], "d": None}
