"""Simulated ultrasound frames of the neck: `people` says who is scanned and when the nerve
is seen, `anatomy` what they are made of, `scanner` how that is shown. A seed and counts
come in; images and masks go out.
"""
