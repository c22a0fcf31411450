# Encrypts all mail to the certificate that stands in this script: nothing else is needed on the server.
#
# Replace the three lines between `text:` and `.` by the whole output of
#
#     gpg --armor --export-options export-minimal --export me@domain.com
#
# from its BEGIN line to its END line. This is the public part of your key. The secret part must never
# be on the server, and the server does not accept a script that has it. The `.` stays on a line of its own.
#
# Do not use this where the administrator has a script for all users (encrypt.sieve): that script does not know of this
# certificate, and defers the mail.

require "vnd.perot.encrypt";
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----
(paste your certificate here, in place of this line and of the BEGIN and END lines around it)
-----END PGP PUBLIC KEY BLOCK-----
.
;
