"""What people read: the report of a run, the audit of a data set, the pages of a study,
tables in the terminal, plots and pictures. Scores, frames and plain dictionaries come in;
HTML, SVG, PNG and lines of text go out.
"""
