from .compare import (
    Comparison as Comparison,
    DifferenceView as DifferenceView,
    compare_views as compare_views,
    difference_view as difference_view,
)
from .panels import Panel as Panel
