# Both names in one script: each warning is given once.
# sieve_perot_encrypt_alias = vnd.dovecot.pgp-encrypt
require ["vnd.dovecot.pgp-encrypt", "vnd.perot.encrypt"];
keep;
if not encrypted { pgp_encrypt; }
keep;
encrypt :force "{me}";
