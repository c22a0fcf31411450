# A keyring in which one certificate can be used and one cannot.
# sieve_perot_encrypt_certs = {dir}/keyring.pgp
require "vnd.perot.encrypt";
encrypt "me@domain.com";
encrypt "nobody@t.org";
