from . import (
    capture as capture,
    comparison as comparison,
    datasets as datasets,
    demo as demo,
    errors as errors,
    evaluation as evaluation,
    explorer as explorer,
    export as export,
    figures as figures,
    files as files,
    images as images,
    maps as maps,
    models as models,
    sweeps as sweeps,
    training as training,
    view as view,
    viewer as viewer,
)
from .capture.batches import capture_rows as capture_rows
from .capture.forward import capture_attention as capture_attention
from .comparison.compare import compare_views as compare_views, difference_view as difference_view
from .comparison.panels import Panel as Panel
from .datasets.loading import load_dataset as load_dataset
from .demo.app import build_demo as build_demo
from .errors import VitattnError as VitattnError
from .evaluation.checks import check_map as check_map
from .evaluation.evaluate import evaluate_maps as evaluate_maps
from .explorer.widget import AttentionExplorer as AttentionExplorer
from .export.page import export_page as export_page
from .images import load_picture as load_picture
from .maps.aggregate import AGGREGATIONS as AGGREGATIONS, aggregate_heads as aggregate_heads
from .maps.completion import complete_capture as complete_capture
from .maps.sinks import find_sinks as find_sinks
from .maps.sources import SOURCES as SOURCES
from .models.loading import load_model as load_model
from .sweeps.run import sweep as sweep
from .training.lesson import lesson_model as lesson_model
from .training.run import finetune as finetune
from .view.drawing import overlay as overlay
from .view.recipe import from_recipe as from_recipe
from .view.render import render_view as render_view, render_views as render_views
from .view.settings import ViewSettings as ViewSettings
from .view.smooth import smooth_map as smooth_map

__version__: str
