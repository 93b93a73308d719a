"""Labels as other programs keep them, read and written.

A module per format: `read(folder)` gives the pictures that a folder of that format
labels, `write(folder, labelled)` makes such a folder. What passes between them is
`pictures.Labelled`, a picture and where each structure is in it. Packages that read a
format are of the extra `labels`.
"""
