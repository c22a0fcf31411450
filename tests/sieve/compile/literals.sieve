# Certificates in scripts.
require "vnd.perot.encrypt";
encrypt text:
{me.asc}
.
;
encrypt text:
{late.asc}
.
;
encrypt text:
{revoked.asc}
.
;
encrypt text:
{signer.asc}
.
;
encrypt text:
{me.secret}
.
;
encrypt text:
{me.wrong-checksum}
.
;
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----

xjMEZ0AAABYJKwYBBAHaRw8BAQdA
.
;
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----

????
-----END PGP PUBLIC KEY BLOCK-----
.
;
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----

xxxx
-----END PGP PUBLIC KEY BLOCK-----
.
;
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----

-----END PGP PUBLIC KEY BLOCK-----
.
;
encrypt text:
-----BEGIN PGP MESSAGE-----

xxxx
-----END PGP MESSAGE-----
.
;
encrypt text:
-----BEGIN PGP PUBLIC KEY BLOCK-----

mAFj
-----END PGP PUBLIC KEY BLOCK-----
.
;
