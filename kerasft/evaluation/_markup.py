"""HTML and SVG as strings: everything that is not markup is escaped on its way in."""

import html
import re
import unicodedata

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def tag(name, *content, **attributes):
    """Returns an element.

    Args:
        name: str.
        *content: str. Markup, taken as it is: pass text through `escape`.
        **attributes: their values are escaped; `class_` stands for `class`, `_` for `-`. None leaves one out.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join([name, *(f' {key}="{escape(_short(value))}"' for key, value in given.items())])
    return f"<{start}>{''.join(content)}</{name}>"


def escape(text):
    """Returns any value as text that cannot end an element or an attribute; what would not print is replaced."""
    return html.escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text)))


def clip(text, width):
    """Returns `text` cut to about `width` Latin letters; Chinese, Japanese and Korean ones are twice as wide."""
    taken = 0
    for position, letter in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(letter) in "FW" else 1
        if taken > width:
            return text[: max(position - 1, 1)].rstrip() + "…"
    return text


def percent(share, digits=1):
    """Returns `91.3 %` for 0.913, with a space that does not break."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def section(heading, words, content):
    """Returns a part of the page: heading, a sentence on how to read it, and markup."""
    return tag("section", tag("h2", escape(heading)), tag("p", words) if words else tag("p"), content)


def table(names, rows, **attributes):
    """Returns a table: names of the columns, `#` before those of numbers, and the cells of each row as markup."""
    heads = [tag("th", escape(name.lstrip("#")), class_="number" if name.startswith("#") else None) for name in names]
    head = tag("thead", tag("tr", *heads))
    return tag("table", head, tag("tbody", *(tag("tr", *cells) for cells in rows)), **attributes)


def _short(value):
    """Returns a coordinate with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
