from .backward import capture_gradients as capture_gradients
from .batches import AttentionRows as AttentionRows, capture_rows as capture_rows
from .capture import (
    AttentionCapture as AttentionCapture,
    CapturedLayer as CapturedLayer,
    Verification as Verification,
)
from .conservative import capture_contributions as capture_contributions
from .contributions import ClassContributions as ClassContributions, LayerContributions as LayerContributions
from .directions import add_direction as add_direction
from .forward import capture_attention as capture_attention, capture_layer_answers as capture_layer_answers
from .head_contributions import (
    HeadContributions as HeadContributions,
    capture_head_contributions as capture_head_contributions,
)
from .layer_answers import LayerAnswers as LayerAnswers
from .targets import ClassGradients as ClassGradients, Direction as Direction
from .value_norms import capture_value_norms as capture_value_norms
