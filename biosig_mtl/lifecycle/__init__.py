"""Conductor 3: what is done with trained networks: new tasks, pre-training, pruning, distillation, narrower widths."""
