# How the command of vnd.dovecot.pgp-encrypt is written.
# sieve_perot_encrypt_alias = vnd.dovecot.pgp-encrypt
require ["vnd.dovecot.pgp-encrypt", "variables", "foreverypart"];
pgp_encrypt 1;
pgp_encrypt "me@domain.com";
pgp_encrypt :keys;
pgp_encrypt :keys 1;
pgp_encrypt :keys "a" "b";
pgp_encrypt :keys "a" :keys "b";
pgp_encrypt :force;
if pgp_encrypt { stop; }
pgp_encrypt :keys "";
pgp_encrypt :keys ["me@domain.com", "{me}"];
pgp_encrypt :keys "${key}";
foreverypart { pgp_encrypt; }
keep;
pgp_encrypt :keys ["a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a",
    "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a"];
redirect "you@domain.com";
encrypt;
