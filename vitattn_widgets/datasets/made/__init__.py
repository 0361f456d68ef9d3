"""Stand-ins: pictures drawn by code, for when the real photos are not there."""
