# The extension has to be asked for.
encrypt;
if encrypted { stop; }
