"""What a run's folder holds: its configuration, folds, checkpoints, log, predictions, fitted
decisions and scores, and whether a run may go on in it. Folders come in; weights, tables
and plain dictionaries go out.
"""
