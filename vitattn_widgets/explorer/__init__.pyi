from .widget import AttentionExplorer as AttentionExplorer
