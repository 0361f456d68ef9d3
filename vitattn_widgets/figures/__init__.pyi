from .lesson import (
    heads_figure as heads_figure,
    layers_figure as layers_figure,
    measures_figure as measures_figure,
    photos_figure as photos_figure,
    smoothing_figure as smoothing_figure,
)
from .paper import check_figure as check_figure, comparison_figure as comparison_figure, paper_figure as paper_figure
