"""From images to two answers per case: windows through an engine, put together by one rule.

Nothing here imports torch; an engine that needs it lives in its own file under `engines/`.
"""
