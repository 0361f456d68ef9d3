from .aggregate import AGGREGATIONS as AGGREGATIONS, aggregate_heads as aggregate_heads
from .attribution import SourceMaps as SourceMaps, grid_map as grid_map, source_maps as source_maps
from .completion import complete_capture as complete_capture
from .resolve import fit_settings as fit_settings
from .sinks import find_sinks as find_sinks
from .sources import SOURCES as SOURCES, Source as Source
