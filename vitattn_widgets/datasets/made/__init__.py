"""Stand-ins: pictures drawn by code, for use where the real photos are missing."""
