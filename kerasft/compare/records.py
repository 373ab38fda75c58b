"""What is known of a run, in a JSON file beside its folder."""

import json

from kerasft import files


def read(path):
    """Returns the record, or an empty dict where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def write(record, path):
    """Writes the record; the file is replaced as a whole."""
    with files.replaced(path) as partial, open(partial, "w", encoding="utf-8") as file:
        json.dump(record, file, ensure_ascii=False)
