# A setting with a wrong value.
# sieve_perot_encrypt_alias = yes
require "vnd.dovecot.pgp-encrypt";
pgp_encrypt :keys "{me.asc}";
