# A setting with a wrong value.
# sieve_perot_encrypt_certs = certs
require "vnd.perot.encrypt";
encrypt "me@domain.com";
