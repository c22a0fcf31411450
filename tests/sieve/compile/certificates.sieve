# Certificates that are found, and what is wrong with them.
require "vnd.perot.encrypt";
encrypt "me@domain.com";
encrypt "late@t.org";
encrypt "soon@t.org";
encrypt "secret@t.org";
encrypt "revoked@t.org";
encrypt "old@t.org";
encrypt "signer@t.org";
encrypt "subkey-revoked@t.org";
encrypt "subkey-old@t.org";
encrypt "subkey-elgamal@t.org";
encrypt "subkey-expired@t.org";
encrypt "subkey-future@t.org";
encrypt "named@t.org";
encrypt "many@t.org";
encrypt "flood@t.org";
