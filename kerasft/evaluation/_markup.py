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
    """Returns any value as text that markup cannot escape from; what would not print becomes `\N{REPLACEMENT CHARACTER}`."""
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


def _short(value):
    """Returns a coordinate with at most one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
