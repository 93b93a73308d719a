"""The machine below a run: errors and exit codes, files that are whole or not there, locks,
signals, what a command prints, several processes of one run, devices and their mesh.
Plain values and functions come in; nothing here knows of frames, models or
configurations.
"""
