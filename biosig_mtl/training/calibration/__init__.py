"""Personal calibration: a few reference readings of a person make the estimates that person's own.

`known` has the nouns, `methods` the table of methods; `keeping` writes fitted methods into a run folder and reads them again.
"""
