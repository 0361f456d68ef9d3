from .lesson import lesson_model as lesson_model
from .recipes import TrainingRecipe as TrainingRecipe, training_recipe as training_recipe
from .report import FinetuneResult as FinetuneResult
from .run import finetune as finetune
