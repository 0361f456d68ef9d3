from .capsule import make_capsule as make_capsule, without_folders as without_folders
from .file_capsule import make_file_capsule as make_file_capsule
from .requests import Answer as Answer, answer as answer
from .store import CaptureStore as CaptureStore
