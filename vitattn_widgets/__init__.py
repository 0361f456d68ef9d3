"""Explore what Vision Transformers attend to: capture a photo once, then look at any layer, head and query."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aggregate": ["AGGREGATIONS", "aggregate_heads"],
        "capture": ["AttentionCapture", "AttentionRows", "Verification", "capture_attention", "capture_rows"],
        "demo": ["build_demo"],
        "errors": ["ModelError", "PictureError", "RecipeError", "SettingsError", "VitattnError", "WeightsError"],
        "explorer": ["AttentionExplorer"],
        "figures": ["paper_figure"],
        "gradients": ["ClassGradients", "capture_gradients", "capture_value_norms", "complete_capture"],
        "attribution": ["SourceMaps", "source_maps"],
        "sinks": ["find_sinks"],
        "sources": ["SOURCES"],
        "images": ["load_picture"],
        "models": ["AttentionModel", "load_model"],
        "drawing": ["overlay", "place_on_source", "scale_map"],
        "overview": ["Overview", "render_overview"],
        "panels": ["ARRANGEMENTS", "render_arranged"],
        "recipes": ["from_recipe", "make_recipe"],
        "render": ["RenderedView", "caption", "render_view", "render_views"],
        "settings": ["ViewSettings"],
        "smooth": ["smooth_map"],
        "store": ["CaptureStore"],
        "tokens": ["LayerTokens", "TokenLayout"],
    },
)
