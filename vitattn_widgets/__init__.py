"""Explore what Vision Transformers attend to: capture a photo once, then look at any layer, head and query."""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aggregate": ["AGGREGATIONS", "aggregate_heads"],
        "capture": ["AttentionCapture", "AttentionRows", "Verification", "capture_attention", "capture_rows"],
        "datasets.loading": ["DATASETS", "load_dataset"],
        "datasets.masked": ["load_masked_folder"],
        "datasets.photos": ["Dataset", "DatasetInfo", "PhotoSet"],
        "demo": ["build_demo"],
        "errors": [
            "DataError",
            "ModelError",
            "PictureError",
            "RecipeError",
            "SettingsError",
            "TrainingError",
            "VitattnError",
            "WeightsError",
        ],
        "evaluation": ["MEASURES", "MapEvaluation", "evaluate_maps"],
        "explorer": ["AttentionExplorer"],
        "figures": ["paper_figure"],
        "images": ["load_picture"],
        "lesson_figures": ["heads_figure", "layers_figure", "measures_figure", "photos_figure", "smoothing_figure"],
        "lessons": ["lesson_model"],
        "measures": [
            "border_share",
            "centre_blob",
            "entropy",
            "flat_ground",
            "head_agreement",
            "mask_on_view",
            "mask_outline",
            "mass_on_mask",
            "pointing_game",
            "share_on",
            "uniform_map",
        ],
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
        "training": ["finetune"],
        "training_recipes": ["TrainingRecipe", "training_recipe"],
        "training_report": ["FinetuneResult"],
    },
)
