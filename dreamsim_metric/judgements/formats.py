"""Names of the formats that human judgements come in; `readers` says what each is."""

from typing import Literal, get_args

Format = Literal["nights", "table", "bapps", "materials"]
"""A layout that judgements are published in: NIGHTS, your own table, BAPPS, or the material-appearance set."""

FORMATS: tuple[Format, ...] = get_args(Format)
