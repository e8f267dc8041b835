"""Named numbers and waveforms of a window; the table `FEATURES` names them."""
