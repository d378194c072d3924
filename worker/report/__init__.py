"""An outcome becomes a dead letter, then a result, then "finished": one publisher."""
