# No place for certificates.
# sieve_perot_encrypt_certs =
require "vnd.perot.encrypt";
encrypt "me@domain.com";
