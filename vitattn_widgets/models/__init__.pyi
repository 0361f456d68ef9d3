from .loading import (
    AttentionModel as AttentionModel,
    load_model as load_model,
    load_model_or_demo as load_model_or_demo,
)
from .preprocess import Preprocessing as Preprocessing
from .tokens import LayerTokens as LayerTokens, Query as Query, TokenLayout as TokenLayout

DEFAULT_MODEL: str
