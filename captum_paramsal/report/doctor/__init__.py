"""The report on the channels that misled a model, and on its treatment."""
