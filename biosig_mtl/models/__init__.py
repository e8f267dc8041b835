"""Networks and baselines; the table `MODELS` names them."""
