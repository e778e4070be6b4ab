"""Whole slides: tissue, tiles, scores, maps.

Data goes one way: `reading.Slide` -> `grid.Tile` -> `scoring.score_tiles` (the one
`Scorer`) -> `store.Store` -> maps, tables and summary. `run.score_slide` does it for a
slide, `cohort.score_slides` for many. Tiles, slides and results are picklable, so that
another engine can map over them.

Positions are pixels of the slide's full resolution (level 0), x to the right, y down.
Label and macro images of a slide, which can carry names, are never read.
"""
