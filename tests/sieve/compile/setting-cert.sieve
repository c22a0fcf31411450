# A setting with a wrong value.
# sieve_perot_encrypt_cert = rubbish
require "vnd.perot.encrypt";
encrypt "me@domain.com";
