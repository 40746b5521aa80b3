"""Version 1 of the wire format; generated modules are committed and proved fresh."""
