from .app import build_demo as build_demo
