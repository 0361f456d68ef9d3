"""Data sets: photos of the user's where they are, pictures made by code where not, and how they are split.

`photos` holds the values, `catalogue` what is known of each set, `loading` the way in; `made` and its modules draw.
"""
