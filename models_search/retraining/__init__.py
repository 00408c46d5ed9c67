"""Training one architecture alone: what train_derived.py shares with searches that share no weights."""
