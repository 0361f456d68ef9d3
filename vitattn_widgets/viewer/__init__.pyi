from .store import CaptureStore as CaptureStore
