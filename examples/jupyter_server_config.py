"""A tile in JupyterLab's launcher that opens the page, through jupyter-server-proxy."""

c = get_config()  # noqa: F821
c.ServerProxy.servers = {
    "vitattn": {
        "command": ["vitattn", "demo", "--no-browser", "--port", "{port}", "--root-path", "{base_url}vitattn"],
        "timeout": 120,  # seconds; loading a model takes some
        "launcher_entry": {"title": "Attention"},
    }
}
