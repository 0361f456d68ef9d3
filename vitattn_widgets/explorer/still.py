"""What a notebook shows of an explorer where no widget appears, without a network and without Python."""

from __future__ import annotations

from pathlib import Path

from ..viewer.assets import bundle

_SCRIPT = bundle(Path(__file__).parent / "static" / "still.js", keep_exports=False)

# JupyterLab's line for a widget whose state was not saved
_NO_ERROR = ".jp-OutputArea-child:has([data-va-still]) + .jp-OutputArea-child > .jupyter-widgets:not(:has(*))"


def still_html(model_id: str, png: str) -> str:
    """An output to precede the widget's, which stays empty where the widget appears.

    Args:
        model_id: of the widget.
        png: its picture, a PNG file in base64.
    """
    return (
        f'<div data-va-still="{model_id}" data-png="{png}"></div>\n'
        f"<style>{_NO_ERROR} {{ display: none }}</style>\n"
        f'<script>{{\n{_SCRIPT}\nshowWithoutWidget("{model_id}");\n}}</script>'
    )
