"""What is there on this machine, and what to do about what is not: the checks behind ``vitattn doctor``.

Nothing here imports torch or timm into this process, so that the report appears also where these are broken: `trial`
imports them in a process of its own, draws one map there, and `software` and `machine` tell what came of it.
"""
