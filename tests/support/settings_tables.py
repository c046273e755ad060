"""The tables of settings in documents. `python -m tests.support.settings_tables` writes them."""

from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from gateway.server.settings import BridgeSettings, ServeSettings, Setting, settings_of
from tests.support.tables import markdown_table, write_table

ROOT: Final = Path(__file__).parents[2]
TARGET: Final = "settings-tables"
DOCUMENTS: Final[dict[Path, type[BaseModel]]] = {
    ROOT / "docs/settings.md": ServeSettings,
    ROOT / "docs/engines.md": BridgeSettings,
}
"""Documents with a table, and the settings in it."""


def table(model: type[BaseModel]) -> str:
    """The settings of a server, in Markdown."""
    rows = [
        (_flag(setting), _variable(setting), f"`{setting.name}`", _default(setting), str(setting.field.description))
        for setting in settings_of(model).values()
    ]
    return markdown_table(("flag", "environment", "file", "default", "meaning"), rows)


def _flag(setting: Setting) -> str:
    if setting.file_only:
        return ""
    form = setting.entry.form if setting.entry else "\\|".join(_choices(setting.field.annotation))
    return f"`{setting.flag} {form}`" if form else f"`{setting.flag}`"


def _choices(annotation: Any) -> list[str]:
    """The values that a setting may have, if these are few."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _form_of_variable(setting: Setting) -> str:
    if setting.entry:
        return ", a JSON object"
    return ", with commas between several" if setting.list_entry else ""


def _variable(setting: Setting) -> str:
    if setting.file_only:
        return ""
    return f"`{setting.variable}`{_form_of_variable(setting)}"


def _default(setting: Setting) -> str:
    if setting.field.is_required():
        return "required"
    return setting.default_text or _value(setting.default)


def _value(value: Any) -> str:
    match value:
        case None | dict() | ():
            return "none"
        case bool():
            return str(value).lower()
        case int():
            return f"{value >> 20} MiB" if value >= 1 << 20 else f"{value:,}"
        case _:
            return f"`{value}`"


def main() -> None:
    """Write the tables into the documents."""
    for file, model in DOCUMENTS.items():
        write_table(file, TARGET, table(model))


if __name__ == "__main__":
    main()
