"""From raw files to batches. The tfds builder and the phantom write records, one per frame;
`loading` decodes and resizes them once into `Examples`; `population` finds out who is
who, `splits` deals people into folds, `batches` and `streaming` say which frame is in
which batch. `frames_folder` reads frames to be predicted, without records. Folders,
sizes and seeds come in; arrays and lists of frame ids go out.
"""
