from .checks import MapCheck as MapCheck, check_map as check_map
from .evaluate import evaluate_maps as evaluate_maps
from .interventions import silence_every_head as silence_every_head
from .measures import (
    MEASURES as MEASURES,
    border_share as border_share,
    centre_blob as centre_blob,
    entropy as entropy,
    flat_ground as flat_ground,
    head_agreement as head_agreement,
    mass_on_mask as mass_on_mask,
    pointing_game as pointing_game,
    share_on as share_on,
    uniform_map as uniform_map,
)
from .result import MapEvaluation as MapEvaluation
