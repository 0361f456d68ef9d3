"""The explorer as a marimo app: `marimo run examples/marimo_app.py`."""

import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import vitattn_widgets as va

    va.AttentionExplorer()


if __name__ == "__main__":
    app.run()
