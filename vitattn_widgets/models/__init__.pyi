from .loading import (
    AttentionModel as AttentionModel,
    load_model as load_model,
)
from .preprocess import Preprocessing as Preprocessing
from .tokens import LayerTokens as LayerTokens, Query as Query, TokenLayout as TokenLayout

DEFAULT_MODEL: str
