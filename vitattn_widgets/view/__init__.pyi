from .arrange import ARRANGEMENTS as ARRANGEMENTS, render_arranged as render_arranged
from .captions import caption as caption, sentence as sentence
from .drawing import overlay as overlay, place_on_source as place_on_source, scale_map as scale_map
from .recipe import from_recipe as from_recipe, make_recipe as make_recipe
from .render import RenderedView as RenderedView, render_view as render_view, render_views as render_views
from .settings import ViewSettings as ViewSettings
from .smooth import smooth_map as smooth_map
