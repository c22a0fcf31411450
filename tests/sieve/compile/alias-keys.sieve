# Keys of vnd.dovecot.pgp-encrypt.
# sieve_perot_encrypt_alias = vnd.dovecot.pgp-encrypt
require "vnd.dovecot.pgp-encrypt";
pgp_encrypt :keys text:
{me.asc}
.
;
pgp_encrypt :keys ["{me.asc}", "{late.asc}"];
pgp_encrypt :keys "{revoked.asc}";
pgp_encrypt :keys "{signer.asc}";
pgp_encrypt :keys "{me.secret}";
pgp_encrypt :keys "{me.wrong-checksum}";
