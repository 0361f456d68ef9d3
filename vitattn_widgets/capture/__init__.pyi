from .backward import capture_gradients as capture_gradients
from .batches import AttentionRows as AttentionRows, capture_rows as capture_rows
from .capture import (
    AttentionCapture as AttentionCapture,
    CapturedLayer as CapturedLayer,
    ClassGradients as ClassGradients,
    Verification as Verification,
)
from .conservative import capture_contributions as capture_contributions
from .contributions import ClassContributions as ClassContributions, LayerContributions as LayerContributions
from .forward import capture_attention as capture_attention
from .value_norms import capture_value_norms as capture_value_norms
